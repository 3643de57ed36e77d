"""Named configurations. A recipe states only its differences from the paper, with the reason, cost and result."""

import difflib
from collections.abc import Callable

from alexnet.config import AugmentConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig

def paper() -> TrainConfig:
    """The paper: ILSVRC, 90 epochs, batch 128, 0.01 divided by 10 on three plateaus of the validation error.

    Command: `alexnet train imagenet.store runs/paper --recipe paper`
    Cost: 5 to 6 days on two GTX 580 in 2012. Result: not yet measured here; the paper's is 40.7 % top-1,
    18.2 % top-5 error on ILSVRC-2012 validation with one network.
    """
    return TrainConfig()


def small() -> TrainConfig:
    """Data of some thousand pictures: the paper's network, made to leave its starting plateau within an epoch.

    Command: `alexnet train stores/imagenette runs/imagenette --recipe small`
    Cost: 80 minutes on two cores of an AMD EPYC (AVX-512, bfloat16), shared with other work (2026-11-23, one run).
    Result: Imagenette validation, ten views: 18.4 % top-1, 1.9 % top-5 error; centre view 20.3 % and 2.6 %.

    Differences and their reasons:
    - Initial weights of conv3, conv4 and conv5 with standard deviation 0.03, as in the original program, instead of
      0.01: with 0.01 the signal that reaches fc6 drowns in the biases of 1. The loss is at 1.6 after two epochs.
    - Batches of 64: twice as many updates from the same pictures.
    - The rate rises over the first 100 steps, so that the larger weights do not overshoot (loss of the first 25 steps
      2.46 instead of 2.93; after 150 steps nothing is gained).
    - 33 epochs with drops after 26 and 31: with few pictures the validation error is too noisy to wait for plateaus.
      Earlier drops fit the training pictures sooner and the others less well.
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
    """The drawn pictures of `alexnet demo`: the paper's network, small enough to learn in a minute.

    Command: `alexnet demo --out demo`
    Cost: 63 seconds on two cores of an AMD EPYC (AVX-512, bfloat16; 2026-11-23, one run), the whole demonstration 80.
    Result: 504 drawn pictures never seen, ten views: 4.4 % top-1 error; a linear classifier on their pixels: 73 %.

    Differences and their reasons:
    - A quarter of the width, for pictures of 112 pixels: one sixtieth of the multiplications.
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


RECIPES: dict[str, Callable[[], TrainConfig]] = {"paper": paper, "small": small, "demo": demo}


def recipe(name: str) -> TrainConfig:
    """The configuration of the recipe `name`; ValueError with the nearest name when there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise ValueError(f"There is no recipe '{name}'; did you mean '{near}'? Known: {', '.join(RECIPES)}.")
    return RECIPES[name]()
