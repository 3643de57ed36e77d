"""Whether a run and a store fit each other: splits, image size, and classes, which are matched by wnid."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files.words import counted
from alexnet.ranges import UsageError
from alexnet.study.trained import TrainedAlexNet


def open_split(store: Store, split: str) -> StoreSplit:
    """The split `split` of the store. ValueError when the store has no such split, or it is empty."""
    if not store.splits.get(split):
        raise UsageError(f"{store.path} has no images in '{split}'; it has: {', '.join(store.splits)}.")
    return store.split(split)


def check_size(net: TrainedAlexNet, store: Store, run: Path) -> None:
    """ValueError unless the store's images have the size that the run was trained on."""
    if net.preprocess.size != store.size:
        raise ValueError(
            f"{store.path} holds images of {store.size} pixels, {run} was trained on "
            f"{net.preprocess.size}; prepare the images again with --size {net.preprocess.size}."
        )


def run_labels(store: Store, classes: Sequence[Class], run: Path) -> Tensor:
    """The run's label of each class of the store, matched by wnid: int64 [classes of the store].

    `classes` are those of `run`. Raises ValueError when the store has classes that the run does not know.
    """
    index = {entry.wnid: i for i, entry in enumerate(classes)}
    unknown = [entry.wnid for entry in store.classes if entry.wnid not in index]
    if unknown:
        raise ValueError(
            f"{store.path} has {counted(len(unknown), 'class', 'classes')} that {run} was not trained on, for example "
            f"{unknown[0]}; give a store whose classes the run knows."
        )
    return torch.tensor([index[entry.wnid] for entry in store.classes])


def class_order(classes: Sequence[Class], reference: Sequence[Class], run: Path, first: Path) -> Tensor:
    """Index in `classes` (of `run`) of each class of `reference` (of the run `first`), by wnid: int64 [classes].

    Raises ValueError when the two do not have the same classes.
    """
    index = {entry.wnid: i for i, entry in enumerate(classes)}
    missing = [entry.wnid for entry in reference if entry.wnid not in index]
    if missing or len(classes) != len(reference):
        example = f"for example, {first} knows {missing[0]}" if missing else f"{first} knows fewer"
        raise ValueError(
            f"{run} and {first} do not know the same classes ({len(classes)} and {len(reference)}; {example}); "
            "the runs of an ensemble need the same classes."
        )
    return torch.tensor([index[entry.wnid] for entry in reference])
