"""Networks by name: the paper's, the original program's, their comparisons, and what is often taken for them.

Each states only where it differs from the one it is made from, every difference with its value and its reason;
SPEC.md of 2012's two sources, the paper and the program, is where they come from. "145" and other numbers are the
program's own names of its layer definitions. `alexnet describe NAME` prints all of it.
"""

import dataclasses
import difflib
from dataclasses import dataclass, field
from typing import Any

from alexnet.config import NetworkConfig


@dataclass(frozen=True)
class Network:
    """A named network: its settings, what it is, and why each setting differs from the paper's."""

    about: str
    config: NetworkConfig
    reasons: dict[str, str] = field(default_factory=dict)

    def but(self, about: str, **differences: tuple[Any, str]) -> "Network":
        """The same with other settings, each (value, reason)."""
        values = {name: value for name, (value, _) in differences.items()}
        reasons = self.reasons | {name: reason for name, (_, reason) in differences.items()}
        config, paper = dataclasses.replace(self.config, **values), NetworkConfig()
        kept = {name: why for name, why in reasons.items() if getattr(config, name) != getattr(paper, name)}
        return Network(about, config, kept)


PAPER = Network("The network of the paper.", NetworkConfig())

ORIGINAL = PAPER.but(
    "The original program's network, definition 145: the one that made the paper's numbers.",
    conv1_order=("norm, pool, activation", "there conv1's ReLU comes last, so that normalisation sees negative values"),
    lrn_alpha=(1e-4 / 5, "the program divides the factor by the 5 kernels of the window"),
    spatial_norm=(1e-3, "the program normalises within each map too, after norm2"),
    initial_std=(
        (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01),
        "the program's conv3, conv4 and conv5 start from larger weights",
    ),
)

CAFFE = PAPER.but(
    "Caffe's bvlc_alexnet.",
    input_size=(227, "a 227-pixel patch instead of 224 and three columns and rows of zeros"),
    norm=("across towers", "windows of normalisation cross from one group to the other"),
    lrn_alpha=(1e-4 / 5, "Caffe, as the original program, divides the factor by the 5 kernels of the window"),
    lrn_k=(1.0, "Caffe's normalisation adds 1"),
    dropout_scaled=("training", "Caffe rescales in training"),
    initial_std=((0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01), "fc6 and fc7 start from smaller weights"),
    initial_bias=((0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0), "biases start at 0.1"),
)

TORCHVISION = PAPER.but(
    'torchvision\'s alexnet, after "One weird trick" (2014).',
    towers=(1, "no groups"),
    kernels=((64, 192, 384, 256, 256), "other widths"),
    padding=((2, 2, 1, 1, 1), "two zeros around the image"),
    overhang=(False, "two zeros around the image, none at one side only"),
    norm=("none", "no response normalisation"),
    pool_clipped=(False, "windows that the edge cuts off do not count"),
    dropout_scaled=("training", "PyTorch rescales in training"),
    dropout_place=("before", "dropout acts on the inputs of fc6 and fc7"),
    initial_std=((), "PyTorch's own initial values"),
    initial_bias=((), "PyTorch's own initial values"),
)

FOUR_LAYER = Network(
    "The four-layer network of the paper's experiments on CIFAR-10 (figure 1, section 3.3).",
    NetworkConfig(
        form="four-layer",
        classes=10,
        input_size=24,
        towers=1,
        kernels=(64, 64, 32, 32),
        padding=(2, 2, 1, 1),
        lrn_alpha=1e-3 / 5,
        lrn_k=1.0,
        dropout=0.0,
        initial_std=(0.0001, 0.01, 0.04, 0.04, 0.01),
        initial_bias=(0, 0, 0, 0, 0),
    ),
    {
        "form": "two convolutions and two layers of unshared kernels, as in the program's 11 % example for CIFAR-10",
        "classes": "CIFAR-10 has ten",
        "input_size": "24-pixel patches of images of 32",
        "towers": "one GPU",
        "kernels": "those of the program's example",
        "padding": "those of the program's example",
        "lrn_alpha": "the program's 0.001, divided by the 5 kernels of the window",
        "lrn_k": "the program's normalisation adds 1 by itself",
        "dropout": "dropout came later",
        "initial_std": "those of the program's example",
        "initial_bias": "those of the program's example",
    },
)

NETWORKS: dict[str, Network] = {
    "paper": PAPER,
    "original": ORIGINAL,
    "caffe": CAFFE,
    "torchvision": TORCHVISION,
    "non-overlapping": ORIGINAL.but(
        "Definition 147: the original with pooling windows that do not overlap.",
        pool_size=(2, "windows of 2x2 that do not overlap"),
        padding=((0, 1, 1, 1, 0), "conv2 is padded by 1 and conv5 not at all, so that pool5 still gives 6x6"),
    ),
    "no-norm": ORIGINAL.but(
        "Definition 148: the original without any normalisation.",
        norm=("none", "what response normalisation is worth"),
        spatial_norm=(0.0, "none either"),
    ),
    "no-spatial-norm": ORIGINAL.but(
        "Definition 167: the original without its normalisation within maps (trained by another schedule then).",
        spatial_norm=(0.0, "what it is worth"),
    ),
    "no-exchange": ORIGINAL.but(
        "Definition 150: two towers that never exchange; only fc8 sees both.",
        exchange=(False, "what the exchange is worth"),
        kernels=((96, 320, 384, 384, 256), "conv2 has 160 kernels per tower"),
        units=(8192, "fc6 and fc7 have 4096 units per tower, each fed by its own"),
    ),
    "half": ORIGINAL.but(
        "145-half: one tower, on one GPU.",
        towers=(1, "one tower"),
        kernels=((48, 128, 192, 192, 256), "half the kernels, but for conv5, so that fc6 stays as large"),
    ),
    "sixth-conv": ORIGINAL.but(
        "The original with a sixth convolution: the network that was trained on all of ImageNet first.",
        sixth_conv=(True, "a convolution over pool5 that sees both towers"),
    ),
    "tanh": PAPER.but("The paper's network with tanh for ReLU.", activation=("tanh", "what ReLU is worth")),
    "no-dropout": PAPER.but("The paper's network without dropout.", dropout=(0.0, "what dropout is worth")),
    **{
        f"without-{layer}": PAPER.but(
            f"The paper's network without {layer}.", without=((layer,), "what each of the middle layers is worth")
        )
        for layer in ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    },
    "four-layer": FOUR_LAYER,
    "four-layer-no-norm": FOUR_LAYER.but(
        "The four-layer network without normalisation (the program's 13 % example).",
        norm=("none", "what response normalisation is worth on CIFAR-10"),
    ),
    "four-layer-tanh": FOUR_LAYER.but(
        "The four-layer network with tanh and without normalisation (the slow curve of figure 1).",
        activation=("tanh", "what ReLU is worth on CIFAR-10"),
        norm=("none", "figure 1 is about the nonlinearity alone"),
    ),
}


def network(name: str) -> Network:
    """The network called `name`; ValueError with the nearest name when there is none."""
    if name not in NETWORKS:
        near = difflib.get_close_matches(name, NETWORKS, n=1, cutoff=0.0)[0]
        raise ValueError(f"There is no network named '{name}'; did you mean '{near}'? Known: {', '.join(NETWORKS)}.")
    return NETWORKS[name]
