"""Batches made in the background, by threads, while the network trains (paper, section 4.1).

Decoding releases Python's lock, so threads use all cores without copies between processes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.data import pixels
from alexnet.data.augment import Draws
from alexnet.data.pool import cores
from alexnet.data.store import StoreSplit

PICTURES_PER_TASK = 16
BATCHES_AHEAD = 3
ALL = slice(None)


class Batch(NamedTuple):
    """Cropped and mirrored patches as bytes, with what `augment.remove_mean` needs to finish them."""

    patches: Tensor
    """uint8 [B, crop, crop, 3]."""
    labels: Tensor
    """int64 [B]."""
    offsets: np.ndarray
    """int64 [B, 2]: top and left of each patch in its picture."""
    mirrored: np.ndarray
    """bool [B]."""
    colour: np.ndarray
    """float32 [B, 3]: multiples of the principal components."""


def training_batches(
    split: StoreSplit,
    draws: Draws,
    batch_size: int,
    crop: int,
    *,
    start: int = 0,
    workers: int = 0,
    rows: slice = ALL,
) -> Iterator[Batch]:
    """The batches of one epoch from number `start` on; the pictures that fill no whole batch are left out.

    The order is random, so other pictures are left out in each epoch. Of each batch only the `rows` are made, where
    several processes share it.
    """
    labels = torch.tensor(split.labels)

    def fill(patches: np.ndarray, positions: range) -> None:
        chosen = slice(positions.start, positions.stop)
        choices = draws.order[chosen].tolist(), draws.offsets[chosen].tolist(), draws.mirrored[chosen].tolist()
        for patch, index, (top, left), mirrored in zip(patches, *choices, strict=True):
            split.read_patch(index, top, left, mirrored, patch)

    steps = range(start, len(split) // batch_size)
    ranges = (range(step * batch_size, (step + 1) * batch_size)[rows] for step in steps)
    for patches, positions in in_background(ranges, crop, fill, workers):
        chosen = slice(positions.start, positions.stop)
        yield Batch(
            patches,
            labels[torch.from_numpy(draws.order[chosen])],
            draws.offsets[chosen],
            draws.mirrored[chosen],
            draws.colour[chosen],
        )


def in_order(
    split: StoreSplit, batch_size: int, workers: int = 0, rows: slice = ALL
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """All pictures (or a range of them, `rows`), whole, in the order of the store: uint8 [B, S, S, 3], labels int64
    [B], first index.

    The last batch may be smaller.
    """
    labels = torch.tensor(split.labels)

    def fill(pictures: np.ndarray, positions: range) -> None:
        for picture, index in zip(pictures, positions, strict=True):
            split.read_patch(index, 0, 0, False, picture)

    wanted = range(len(split))[rows]
    ranges = (wanted[first : first + batch_size] for first in range(0, len(wanted), batch_size))
    for pictures, positions in in_background(ranges, split.size, fill, workers):
        yield pictures, labels[positions.start : positions.stop], positions.start


def in_background(
    batches: Iterator[range], side: int, fill: Callable[[np.ndarray, range], None], workers: int
) -> Iterator[tuple[Tensor, range]]:
    """Yield (pictures, positions) for each range, with `BATCHES_AHEAD` being filled while the caller works.

    An error in a worker is raised here, at the batch that it belongs to.
    """
    pixels.library()  # built now, not by all threads at once
    with ThreadPoolExecutor(workers or min(8, cores()), thread_name_prefix="pictures") as pool:
        ahead: deque[tuple[Tensor, range, list[Future[None]]]] = deque()

        def submit() -> None:
            positions = next(batches, None)
            if positions is None:
                return
            # From NumPy, which asks Linux for huge pages, and not from torch, which does not.
            array = np.empty((len(positions), side, side, 3), np.uint8)
            pictures = torch.from_numpy(array)
            tasks = [
                pool.submit(fill, array[i : i + PICTURES_PER_TASK], positions[i : i + PICTURES_PER_TASK])
                for i in range(0, len(positions), PICTURES_PER_TASK)
            ]
            ahead.append((pictures, positions, tasks))

        try:
            for _ in range(BATCHES_AHEAD):
                submit()
            while ahead:
                pictures, positions, tasks = ahead.popleft()
                for task in tasks:
                    task.result()
                submit()
                yield pictures, positions
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
