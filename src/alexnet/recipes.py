"""Named configurations. A recipe states only its differences from the paper, with the reason, cost and result."""

import difflib
from collections.abc import Callable
from dataclasses import replace

from alexnet.config import AugmentConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig

NETWORKS: dict[str, NetworkConfig] = {"paper": NetworkConfig()}


def paper() -> TrainConfig:
    """The paper: ILSVRC, 90 epochs, batch 128, 0.01 divided by 10 on three plateaus of the validation error.

    Command: `alexnet train imagenet.store runs/paper --recipe paper`
    Cost: 5 to 6 days on two GTX 580 in 2012. Result: not yet measured here; the paper's is 40.7 % top-1,
    18.2 % top-5 error on ILSVRC-2012 validation with one network.
    """
    return TrainConfig()


RECIPES: dict[str, Callable[[], TrainConfig]] = {"paper": paper}


def recipe(name: str) -> TrainConfig:
    """The configuration of the recipe `name`; ValueError with the nearest name when there is none."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise ValueError(f"There is no recipe '{name}'; did you mean '{near}'? Known: {', '.join(RECIPES)}.")
    return RECIPES[name]()
