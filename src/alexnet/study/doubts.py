"""Signs that a network has learned nothing, in words, for the commands that show its answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet.data.classes import Class
from alexnet.study.class_names import short_name
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.health import is_chance


def at_chance(net: TrainedAlexNet, run: Path) -> list[str]:
    """A sentence where the best evaluation of the training of `net`, from `run`, was no better than guessing."""
    if net.top1_error is None or not is_chance(net.top1_error, len(net.classes)):
        return []
    return [
        f"{run} has not learned: the best top-1 error of its training was {100 * net.top1_error:.1f} %, where guessing "
        f"gives {100 * (1 - 1 / len(net.classes)):.1f} %. See the warnings of alexnet train."
    ]


def same_label(guesses: np.ndarray, truths: np.ndarray, classes: Sequence[Class]) -> list[str]:
    """A sentence where every image of several classes gets the same label; guesses and truths are int64 [N]."""
    if len(np.unique(guesses)) > 1 or len(np.unique(truths)) < 2:
        return []
    name = short_name(classes[int(guesses[0])].name)
    return [
        f"every image gets the same label, {name}: the network tells no classes apart. It has not learned, or it was "
        "trained on images that look different; see the warnings of its training."
    ]
