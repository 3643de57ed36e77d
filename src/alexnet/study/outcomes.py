"""What a network says of each image of a test: its label, the rank of the true one, and how sure it is.

One record per image is kept, 16 bytes, so that tables and panels of a large test cost no second pass.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.files.spreadsheet import new_table
from alexnet.study.outputs import rounded

OUTCOME = np.dtype([("guess", np.int32), ("rank", np.int32), ("of_true", np.float32), ("of_guess", np.float32)])
"""Of an image: the most probable class; the rank of the true one, which is 1 plus the number of classes that are more
probable; and the probabilities of the true one and of the most probable one."""
COLUMNS = (
    *("key", "true_wnid", "true_name", "predicted_wnid", "predicted_name"),
    *("probability_of_true", "probability_of_predicted", "rank_of_true", "correct"),
)
"""Of the table of a test."""


def outcomes(scores: Tensor, labels: Tensor) -> np.ndarray:
    """The outcome of each image, from scores [B, classes] and labels int64 [B]: `OUTCOME` [B]."""
    own = scores.gather(1, labels[:, None])
    found = np.empty(len(scores), OUTCOME)
    of_guess, guess = scores.max(1)
    found["guess"], found["of_guess"] = guess.numpy(), of_guess.numpy()
    found["rank"], found["of_true"] = 1 + (scores > own).sum(1).numpy(), own[:, 0].numpy()
    return found


def most_wrong(found: np.ndarray, truths: np.ndarray, count: int) -> list[int]:
    """The indices of the `count` images with a wrong label of which the network is surest, the surest first.

    `found` are `OUTCOME` [N], `truths` int64 [N].
    """
    wrong = np.flatnonzero(found["guess"] != truths)
    return wrong[np.argsort(-found["of_guess"][wrong], kind="stable")][:count].tolist()


def write_outcomes(
    path: Path, key: Callable[[int], str], found: np.ndarray, truths: np.ndarray, classes: Sequence[Class]
) -> None:
    """Write a table of `COLUMNS`, a row for each image; `key` names an image by its index. Others as `most_wrong`."""
    with new_table(path, COLUMNS) as write:
        for index, (outcome, truth) in enumerate(zip(found, truths.tolist(), strict=True)):
            guess = int(outcome["guess"])
            probabilities = (rounded(float(outcome[name])) for name in ("of_true", "of_guess"))
            row = (key(index), *classes[truth], *classes[guess], *probabilities, int(outcome["rank"]))
            write([*row, int(guess == truth)])
