"""Recipes: training configurations by name.

A recipe states only its differences from the paper, each with its reason. Its docstring gives the command, the cost and
the measured result; the first line is its entry in `alexnet train --help`. To add one, write a function here and name
it in `RECIPES`.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable

from alexnet.config import AugmentConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig, suggestion
from alexnet.networks import NETWORKS
from alexnet.ranges import UsageError

ENOUGH_STEPS = 900
"""Steps in which recipe `small` learned from 600 images; see `small`."""


def paper() -> TrainConfig:
    """The paper's training on ILSVRC: 90 epochs, learning rate 0.01, divided by 10 on three plateaus.

    Command: `alexnet train stores/imagenet runs/paper --recipe paper`
    Cost: 5 to 6 days on two GTX 580 in 2012. Result: not yet measured here; the paper's is 40.7 % top-1,
    18.2 % top-5 error on ILSVRC-2012 validation with one network.
    """
    return TrainConfig()


def original() -> TrainConfig:
    """The original program's training of its definition 145, which made the paper's numbers.

    Command: `alexnet train stores/imagenet runs/original --recipe original`
    Cost: as `paper`. Result: not yet measured here; the program's own was 40.664 % top-1, 18.210 % top-5 error on
    ILSVRC-2012 validation.

    Differences and their reasons: the program did it so, where the paper says something else or nothing.
    - Biases have twice the learning rate and no weight decay.
    - The learning rate drops after 25, 51 and 79 epochs. conv1 is slowed at 67 and frozen at 72. Colour noise ends
      at 67.
    - The images keep one order. 32 consecutive images share a crop offset, of 33 x 33. The central crop of the mean
      image is subtracted from all.
    - Colour noise scales with standard deviations instead of eigenvalues, and the image is then divided by 1.1.
    """
    return TrainConfig(
        recipe="original",
        epochs=91,
        network=NETWORKS["original"].config,
        augment=AugmentConfig(
            shuffle="once",
            include_last_offset=True,
            images_per_crop=32,
            mean_crop="central",
            colour_scale="standard-deviations",
        ),
        optim=OptimConfig(bias_lr_factor=2, no_weight_decay=("bias",)),
        schedule=ScheduleConfig(
            kind="epochs", drop_epochs=(25, 51, 79), changes=("67 conv1 1e-5", "72 conv1 0", "67 colour_noise 0")
        ),
    )


def finetune() -> TrainConfig:
    """Fine-tuning of a pre-trained network (`--from RUN`), as for two of the paper's seven.

    Command: `alexnet train stores/imagenet runs/finetuned --recipe finetune --from runs/pretrained`
    Cost: 54 epochs. Result: not yet measured here; the program's own was 38.990 % top-1, 16.622 % top-5 error on
    ILSVRC-2012 validation, after pre-training on all of ImageNet's Fall 2011 release.

    Differences from `original` and their reasons: the program did it so.
    - The network has a sixth convolution. All layers except fc8 come from the run that `--from` names.
    - A tenth of the learning rate; a hundredth for conv1, which is frozen after 7 epochs. fc8, which is new, has ten
      times the others' from 300 macro-batches of 1024 images (0.24 epochs of ILSVRC-2012) until epoch 9.
    - The learning rate drops after 22 and 42 epochs. Colour noise ends at 38.
    """
    return dataclasses.replace(
        original(),
        recipe="finetune",
        epochs=54,
        network=NETWORKS["sixth-conv"].config,
        optim=OptimConfig(lr=0.001, bias_lr_factor=2, no_weight_decay=("bias",)),
        schedule=ScheduleConfig(
            kind="epochs",
            drop_epochs=(22, 42),
            changes=(
                *("0 conv1 1e-4", "5 conv1 1e-5", "7 conv1 0"),
                *("0.24 fc8 0.01", "9 fc8 common"),
                "38 colour_noise 0",
            ),
        ),
    )


def caffe() -> TrainConfig:
    """Caffe's bvlc_alexnet, for comparison: the network that is often called AlexNet.

    Command: `alexnet train stores/imagenet runs/caffe --recipe caffe`
    Cost: as `paper`. Result: not yet measured here; Caffe's own is 42.9 % top-1, 19.8 % top-5 error (centre view).

    Differences and their reasons: Caffe does it so.
    - Batches of 256. The learning rate drops every 100,000 of them, which is every 20 epochs of ILSVRC-2012.
    - Biases have twice the learning rate and no weight decay. No colour noise. 30 x 30 offsets for crops of 227 pixels.
    """
    return TrainConfig(
        recipe="caffe",
        batch_size=256,
        network=NETWORKS["caffe"].config,
        augment=AugmentConfig(include_last_offset=True, colour_noise=0),
        optim=OptimConfig(bias_lr_factor=2, no_weight_decay=("bias",)),
        schedule=ScheduleConfig(kind="epochs", drop_epochs=(20, 40, 60, 80)),
    )


def cifar() -> TrainConfig:
    """The four-layer network of the paper's CIFAR-10 experiments, for a store of 32-pixel images.

    Command: `alexnet train stores/cifar10 runs/cifar --recipe cifar`
    Cost: 470 epochs. Result: not yet measured here; the paper's is 11 % test error, and 13 % without normalisation
    (`--network four-layer-no-norm`).

    Differences and their reasons: the program's 11 % example did it so.
    - A tenth of the learning rate, divided by 10 for each of the last two spans of ten epochs. Biases have twice the
      learning rate and no weight decay. More weight decay, but none in the convolutions.
    - 9 x 9 offsets for crops of 24 pixels. No colour noise.
    """
    return TrainConfig(
        recipe="cifar",
        epochs=470,
        evaluate_every=5,
        network=NETWORKS["four-layer"].config,
        augment=AugmentConfig(include_last_offset=True, colour_noise=0),
        optim=OptimConfig(lr=0.001, bias_lr_factor=2, weight_decay=0.004, no_weight_decay=("bias", "conv1", "conv2")),
        schedule=ScheduleConfig(kind="epochs", drop_epochs=(450, 460)),
    )


def small(epochs: int | None = None, images: int | None = None) -> TrainConfig:
    """A few hundred or thousand images: the paper's network, set to learn from the first epoch on.

    Command: `alexnet train stores/imagenette runs/imagenette --recipe small`
    Cost: 61 minutes on two cores of an AMD EPYC (Zen 5, AVX-512, bfloat16) that were also used by other work
    (2026-11-25, one run).
    Result: Imagenette validation, ten views: 17.4 % top-1, 1.9 % top-5 error; centre view 19.0 % and 2.4 %.

    Differences and their reasons:
    - Initial weights of conv3, conv4 and conv5 with standard deviation 0.03, as in the original program, instead of
      0.01: with 0.01 the signal that reaches fc6 drowns in the biases of 1. The loss is 1.6 after two epochs.
    - Batches of 64: twice as many updates from the same images.
    - The learning rate rises over the first 100 steps, so that the larger weights do not overshoot (mean loss of the
      first 25 steps 2.46 instead of 2.93; after 150 steps there is no difference).
    - 40 epochs, drops after 32 and 37: with few images the validation error is too noisy for plateaus. With earlier
      drops the training loss is lower and the validation error higher. With other --epochs the drops come after the
      same fractions of them, 0.8 and 0.925.
    - Of fewer than 1,500 images, as many epochs as 900 steps need. 600 images of Imagenette at 112 pixels: 47.1 %
      top-1 error after 40 epochs (360 steps), 44.0 % after 100 (900 steps; one run each, centre view).
    - Four times the weight decay and twice the colour noise. The paper's 90 epochs of ImageNet give weight decay some
      150 times the steps of these 40 to shrink the initial weights. With the paper's weight decay and noise, 33 epochs
      and drops after 26 and 31, top-1 error on ten views was 18.4 % (one run).
    """
    batch_size = 64
    if epochs is None:
        steps_per_epoch = max(1, (images or 10_000) // batch_size)
        epochs = max(40, math.ceil(ENOUGH_STEPS / steps_per_epoch))
    drop_epochs = round(0.8 * epochs, 3), round(0.925 * epochs, 3)
    return TrainConfig(
        recipe="small",
        epochs=epochs,
        batch_size=batch_size,
        evaluate_every=2,
        network=NetworkConfig(initial_std=(0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)),
        augment=AugmentConfig(colour_noise=0.2),
        optim=OptimConfig(weight_decay=0.002),
        schedule=ScheduleConfig(kind="epochs", drop_epochs=drop_epochs, warmup_steps=100),
    )


def demo() -> TrainConfig:
    """The synthetic images of `alexnet demo`: the paper's network, narrow enough to learn in a minute.

    Command: `alexnet demo --out demo`
    Cost and result: README.md, which names the machine; `alexnet demo` reports those of yours.

    Differences and their reasons:
    - A quarter of the width, for images of 112 pixels: one sixtieth of the multiplications.
    - Initial weights grow as layers narrow (about the square root of 2 over the number of inputs) and biases are 0:
      otherwise little of the signal is left after five layers of a few dozen channels.
    - Batches of 32 and a learning rate of 0.003, which rises over the first half epoch: many small updates.
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
        schedule=ScheduleConfig(kind="epochs", drop_epochs=(15, 18), warmup_steps=37),
    )


RECIPES: dict[str, Callable[..., TrainConfig]] = {
    made.__name__: made for made in (paper, original, finetune, caffe, cifar, small, demo)
}


def recipe(name: str, *, epochs: int | None = None, images: int | None = None) -> TrainConfig:
    """The configuration of the recipe `name`.

    A recipe that adapts its schedule takes `epochs`, as the user chose them, and `images`, the number of training
    images; the others have a fixed number of epochs. ValueError for an unknown name.
    """
    if name not in RECIPES:
        raise UsageError(f"There is no recipe '{name}'; {suggestion(name, RECIPES)}")
    made = RECIPES[name]
    known = {"epochs": epochs, "images": images}
    return made(**{key: known[key] for key in inspect.signature(made).parameters if key in known})
