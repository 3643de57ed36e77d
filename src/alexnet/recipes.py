"""Named configurations. A recipe states only its differences from the paper, with the reason, cost and result."""

import dataclasses
import difflib
from collections.abc import Callable

from alexnet.config import AugmentConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig
from alexnet.networks import NETWORKS


def paper() -> TrainConfig:
    """The paper: ILSVRC, 90 epochs, batch 128, 0.01 divided by 10 on three plateaus of the validation error.

    Command: `alexnet train imagenet.store runs/paper --recipe paper`
    Cost: 5 to 6 days on two GTX 580 in 2012. Result: not yet measured here; the paper's is 40.7 % top-1,
    18.2 % top-5 error on ILSVRC-2012 validation with one network.
    """
    return TrainConfig()


def original() -> TrainConfig:
    """The original program's training of its definition 145, which made the paper's numbers, to the letter.

    Command: `alexnet train stores/imagenet runs/original --recipe original`
    Cost: as `paper`. Result: not yet measured here; the program's own was 40.664 % top-1, 18.210 % top-5 error on
    ILSVRC-2012 validation.

    Differences and their reasons: the program did it so, where the paper says something else or nothing.
    - Biases have twice the rate and do not decay.
    - The rate falls after 25, 51 and 79 epochs; conv1 is slowed at 67 and frozen at 72; colour noise ends at 67.
    - The images keep one order; 32 in a row share a crop, of 33 x 33 places; the mean's centre is removed from all.
    - Colour noise has standard deviations for eigenvalues, and the noisy image is divided by 1.1.
    """
    return TrainConfig(
        recipe="original",
        epochs=91,
        network=NETWORKS["original"].config,
        augment=AugmentConfig(
            order="fixed", last_offset=True, sharing=32, mean="central", colour_rule="standard deviations"
        ),
        optim=OptimConfig(bias_rate=2, undecayed=("bias",)),
        schedule=ScheduleConfig(
            kind="epochs", drops=(25, 51, 79), changes=("67 conv1 1e-5", "72 conv1 0", "67 colour 0")
        ),
    )


def tune() -> TrainConfig:
    """The tuning of a network that was trained on more classes first: the two pre-trained members of the paper's seven.

    Command: `alexnet train stores/imagenet runs/tuned --recipe tune --from runs/pretrained`
    Cost: 54 epochs. Result: not yet measured here; the program's own was 38.990 % top-1, 16.622 % top-5 error on
    ILSVRC-2012 validation, after a training on all of ImageNet's Fall 2011 release.

    Differences from `original` and their reasons: the program did it so.
    - The network has a sixth convolution; all layers but fc8 come from the run that `--from` names.
    - A tenth of the rate, a hundredth for conv1, which is frozen after 7 epochs; fc8, which is new, has ten times the
      others' from 300 macro-batches of 1024 images (0.24 epochs of ILSVRC-2012) until epoch 9.
    - The rate falls after 22 and 42 epochs, colour noise ends at 38.
    """
    return dataclasses.replace(
        original(),
        recipe="tune",
        epochs=54,
        network=NETWORKS["sixth-conv"].config,
        optim=OptimConfig(lr=0.001, bias_rate=2, undecayed=("bias",)),
        schedule=ScheduleConfig(
            kind="epochs",
            drops=(22, 42),
            changes=(
                *("0 conv1 1e-4", "5 conv1 1e-5", "7 conv1 0"),
                *("0.24 fc8 0.01", "9 fc8 rest"),
                "38 colour 0",
            ),
        ),
    )


def caffe() -> TrainConfig:
    """Caffe's bvlc_alexnet, for comparison with what is often called AlexNet.

    Command: `alexnet train stores/imagenet runs/caffe --recipe caffe`
    Cost: as `paper`. Result: not yet measured here; Caffe's own is 42.9 % top-1, 19.8 % top-5 error (centre view).

    Differences and their reasons: Caffe does it so.
    - Batches of 256; the rate falls every 100,000 of them, which is every 20 epochs of ILSVRC-2012.
    - Biases have twice the rate and do not decay. No colour noise. 30 x 30 places for patches of 227 pixels.
    """
    return TrainConfig(
        recipe="caffe",
        batch_size=256,
        network=NETWORKS["caffe"].config,
        augment=AugmentConfig(last_offset=True, colour=0),
        optim=OptimConfig(bias_rate=2, undecayed=("bias",)),
        schedule=ScheduleConfig(kind="epochs", drops=(20, 40, 60, 80)),
    )


def cifar() -> TrainConfig:
    """CIFAR-10 with the four-layer network of the paper's experiments, prepared at 32 pixels.

    Command: `alexnet train stores/cifar10 runs/cifar --recipe cifar`
    Cost: 470 epochs. Result: not yet measured here; the paper's is 11 % test error, and 13 % without normalisation
    (`--network four-layer-no-norm`).

    Differences and their reasons: the program's 11 % example did it so.
    - A tenth of the rate, the last 20 epochs at less; biases twice, without decay; more decay, none in convolutions.
    - 9 x 9 places for patches of 24 pixels, no colour noise.
    """
    return TrainConfig(
        recipe="cifar",
        epochs=470,
        evaluate_every=5,
        network=NETWORKS["four-layer"].config,
        augment=AugmentConfig(last_offset=True, colour=0),
        optim=OptimConfig(lr=0.001, bias_rate=2, weight_decay=0.004, undecayed=("bias", "conv1", "conv2")),
        schedule=ScheduleConfig(kind="epochs", drops=(450, 460)),
    )


def small() -> TrainConfig:
    """Data of some thousand images: the paper's network, made to leave its starting plateau within an epoch.

    Command: `alexnet train stores/imagenette runs/imagenette --recipe small`
    Cost: 61 minutes on two cores of an AMD EPYC (Zen 5, AVX-512, bfloat16) that did other work beside it
    (2026-11-25, one run); 145 images a second alone, which would be 43 minutes.
    Result: Imagenette validation, ten views: 17.4 % top-1, 1.9 % top-5 error; centre view 19.0 % and 2.4 %.

    Differences and their reasons:
    - Initial weights of conv3, conv4 and conv5 with standard deviation 0.03, as in the original program, instead of
      0.01: with 0.01 the signal that reaches fc6 drowns in the biases of 1. The loss is at 1.6 after two epochs.
    - Batches of 64: twice as many updates from the same images.
    - The rate rises over the first 100 steps, so that the larger weights do not overshoot (loss of the first 25 steps
      2.46 instead of 2.93; after 150 steps nothing is gained).
    - 40 epochs with drops after 32 and 37: with few images the validation error is too noisy to wait for plateaus.
      Earlier drops fit the training images sooner and the others less well.
    - Four times the weight decay and twice the colour noise. In the paper's 90 epochs of ImageNet the decay has some
      150 times the steps of these 40 to forget the initial weights. With the paper's decay and noise, 33 epochs and
      drops after 26 and 31, ten views had 18.4 % top-1 error (one run).
    """
    return TrainConfig(
        recipe="small",
        epochs=40,
        batch_size=64,
        evaluate_every=2,
        network=NetworkConfig(initial_std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)),
        augment=AugmentConfig(colour=0.2),
        optim=OptimConfig(weight_decay=0.002),
        schedule=ScheduleConfig(kind="epochs", drops=(32, 37), warmup_steps=100),
    )


def demo() -> TrainConfig:
    """The drawn images of `alexnet demo`: the paper's network, small enough to learn in a minute.

    Command: `alexnet demo --out demo`
    Cost: 44 seconds on two cores of an AMD EPYC (Zen 5, bfloat16; 2026-11-25, one run), the whole demonstration 59.
    Result: 504 drawn images never seen, ten views: 5.4 % top-1 error; a linear classifier on their pixels: 73 %.

    Differences and their reasons:
    - A quarter of the width, for images of 112 pixels: one sixtieth of the multiplications.
    - Initial weights grow as layers narrow (about the square root of 2 over the number of inputs), biases are 0:
      otherwise little of the signal is left after five layers of a few dozen kernels.
    - Batches of 32 and a rate of 0.003, which rises over the first half epoch: many small updates.
    """
    return TrainConfig(
        recipe="demo",
        epochs=20,
        batch_size=32,
        network=NetworkConfig(
            input_size=112,
            width=0.25,
            initial_std=(0.02, 0.02, 0.059, 0.068, 0.068, 0.059, 0.044, 0.01),
            initial_bias=(0, 0, 0, 0, 0, 0, 0, 0),
        ),
        optim=OptimConfig(lr=0.003),
        schedule=ScheduleConfig(kind="epochs", drops=(15, 18), warmup_steps=37),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    made.__name__: made for made in (paper, original, tune, caffe, cifar, small, demo)
}


def recipe(name: str) -> TrainConfig:
    """The configuration of the recipe `name`; ValueError with the nearest name when there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise ValueError(f"There is no recipe '{name}'; did you mean '{near}'? Known: {', '.join(RECIPES)}.")
    return RECIPES[name]()
