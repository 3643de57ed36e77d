"""Networks by name: the paper's, the original program's, the variants they were compared with, and their lookalikes.

Each states only where it differs from the network it is derived from, every difference with its value and its reason.
Numbers such as 145 are the original program's names of its layer definitions. Sources: docs/specification.md, "The
network", "The bigger network", "The comparisons the original ran", "What people confuse it with". `alexnet describe
NAME` prints a network and its differences from the paper's.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from alexnet.config import NetworkConfig, suggestion
from alexnet.ranges import UsageError


@dataclass(frozen=True)
class Network:
    """A named network: what it is, its settings, and why each setting differs from the paper's."""

    about: str
    config: NetworkConfig
    reasons: dict[str, str] = field(default_factory=dict)
    """Reason for each setting that differs from the paper's, by the setting's name."""

    def derive(self, about: str, **differences: tuple[Any, str]) -> "Network":
        """The same network with other settings, each given as (value, reason)."""
        values = {name: value for name, (value, _) in differences.items()}
        reasons = self.reasons | {name: reason for name, (_, reason) in differences.items()}
        config, paper = dataclasses.replace(self.config, **values), NetworkConfig()
        kept = {name: reason for name, reason in reasons.items() if getattr(config, name) != getattr(paper, name)}
        return Network(about, config, kept)


PAPER = Network("The network of the paper.", NetworkConfig())

ORIGINAL = PAPER.derive(
    "The original program's network, definition 145, which made the paper's numbers.",
    after_conv1=(
        "norm-pool-activation",
        "the program applies conv1's ReLU last, so normalisation sees negative values",
    ),
    lrn_alpha=(1e-4 / 5, "the program divides alpha by the 5 channels of the window"),
    spatial_norm_alpha=(1e-3, "the program also normalises within each map, after norm2"),
    initial_std=(
        (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
        "the program starts conv3, conv4 and conv5 from larger weights",
    ),
)

CAFFE = PAPER.derive(
    "Caffe's bvlc_alexnet.",
    input_size=(227, "Caffe crops 227 pixels instead of adding three columns and rows of zeros to 224"),
    lrn=("across-towers", "Caffe's normalisation windows reach from one group of channels into the other"),
    lrn_alpha=(1e-4 / 5, "Caffe, like the original program, divides alpha by the 5 channels of the window"),
    lrn_k=(1.0, "Caffe's normalisation adds 1"),
    inverted_dropout=(True, "Caffe rescales in training"),
    initial_std=((0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01), "Caffe starts fc6 and fc7 from smaller weights"),
    initial_bias=((0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0), "Caffe's biases start at 0.1"),
)

CAFFENET = CAFFE.derive(
    "Caffe's bvlc_reference_caffenet: its AlexNet with pooling before normalisation.",
    after_conv1=("activation-pool-norm", "CaffeNet pools before it normalises, after conv1 and conv2"),
)

TORCHVISION = PAPER.derive(
    'torchvision\'s alexnet, after "One weird trick" (2014).',
    towers=(1, "no groups"),
    channels=((64, 192, 384, 256, 256), "other widths"),
    padding=((2, 2, 1, 1, 1), "conv1 pads its input by two zeros on all sides"),
    conv1_ceil_mode=(False, "no extra zeros on the right and at the bottom"),
    lrn=("none", "no local response normalisation"),
    pool_ceil_mode=(False, "pooling windows that reach past the edge are dropped"),
    inverted_dropout=(True, "PyTorch rescales in training"),
    dropout_on=("inputs", "dropout acts on the inputs of fc6 and fc7"),
    initial_std=((), "PyTorch's own initial values"),
    initial_bias=((), "PyTorch's own initial values"),
)

FOUR_LAYER = Network(
    "The four-layer network of the paper's experiments on CIFAR-10 (figure 1, section 3.3).",
    NetworkConfig(
        architecture="four-layer",
        classes=10,
        input_size=24,
        towers=1,
        channels=(64, 64, 32, 32),
        padding=(2, 2, 1, 1),
        lrn_alpha=1e-3 / 5,
        lrn_k=1.0,
        dropout=0.0,
        initial_std=(0.0001, 0.01, 0.04, 0.04, 0.01),
        initial_bias=(0, 0, 0, 0, 0),
    ),
    {
        "architecture": "two convolutions and two locally connected layers, as in the program's 11 % CIFAR-10 example",
        "classes": "CIFAR-10 has ten",
        "input_size": "24-pixel crops of 32-pixel images",
        "towers": "one GPU",
        "channels": "those of the program's example",
        "padding": "that of the program's example",
        "lrn_alpha": "the program's 0.001, divided by the 5 channels of the window",
        "lrn_k": "the program's normalisation adds 1 here",
        "dropout": "the example is older than dropout",
        "initial_std": "those of the program's example",
        "initial_bias": "those of the program's example",
    },
)

NETWORKS: dict[str, Network] = {
    "paper": PAPER,
    "original": ORIGINAL,
    "caffe": CAFFE,
    "caffenet": CAFFENET,
    "torchvision": TORCHVISION,
    "non-overlapping": ORIGINAL.derive(
        "Definition 147: the original with pooling windows that do not overlap.",
        pool_size=(2, "2x2 windows at stride 2 do not overlap"),
        padding=((0, 1, 1, 1, 0), "conv2 pads by 1 and conv5 not at all, so that pool5 still gives 6x6"),
    ),
    "no-norm": ORIGINAL.derive(
        "Definition 148: the original without any normalisation.",
        lrn=("none", "measures what normalisation gains"),
        spatial_norm_alpha=(0.0, "measures what normalisation gains"),
    ),
    "no-spatial-norm": ORIGINAL.derive(
        "Definition 167: the original without normalisation within maps (in 2012 it had another schedule).",
        spatial_norm_alpha=(0.0, "measures what normalisation within maps gains"),
    ),
    "no-exchange": ORIGINAL.derive(
        "Definition 150: two towers that never exchange activations; only fc8 sees both.",
        exchange=(False, "measures what the exchange gains"),
        channels=((96, 320, 384, 384, 256), "conv2 has 160 channels per tower"),
        fc_units=(8192, "fc6 and fc7 have 4096 units per tower, each fed by its own tower"),
    ),
    "half": ORIGINAL.derive(
        "145-half: one tower, on one GPU.",
        towers=(1, "one tower"),
        channels=((48, 128, 192, 192, 256), "half the channels, except in conv5, so that fc6 keeps its size"),
    ),
    "sixth-conv": ORIGINAL.derive(
        "The original with a sixth convolution: the network that was pre-trained on all of ImageNet.",
        sixth_conv=(True, "a convolution after pool5 that sees both towers"),
    ),
    "tanh": PAPER.derive(
        "The paper's network with tanh instead of ReLU.", activation=("tanh", "measures what ReLU gains")
    ),
    "no-dropout": PAPER.derive("The paper's network without dropout.", dropout=(0.0, "measures what dropout gains")),
    **{
        f"without-{layer}": PAPER.derive(
            f"The paper's network without {layer}.", without_layers=((layer,), "measures what a middle layer gains")
        )
        for layer in ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    },
    "four-layer": FOUR_LAYER,
    "four-layer-no-norm": FOUR_LAYER.derive(
        "The four-layer network without normalisation (the program's 13 % example).",
        lrn=("none", "measures what normalisation gains on CIFAR-10"),
    ),
    "four-layer-tanh": FOUR_LAYER.derive(
        "The four-layer network with tanh and without normalisation (the slow curve of figure 1).",
        activation=("tanh", "measures what ReLU gains on CIFAR-10"),
        lrn=("none", "figure 1 compares the nonlinearities alone"),
    ),
}


def network(name: str) -> Network:
    """The network called `name`. ValueError, suggesting the nearest name, when there is none."""
    if name not in NETWORKS:
        raise UsageError(f"There is no network named '{name}'; {suggestion(name, NETWORKS)}")
    return NETWORKS[name]
