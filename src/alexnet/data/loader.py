"""Batches made in the background, by threads, while the network trains (paper, section 4.1).

Reading and decoding release Python's lock, so threads use all cores without copies between processes.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.data.augment import Draws
from alexnet.data.image import pixels
from alexnet.data.store.reader import StoreSplit
from alexnet.native.library import Threads
from alexnet.native.processor import cores

IMAGES_PER_TASK = 16
BATCHES_AHEAD = 3
MOST_WORKERS = 8
"""Threads at most, unless more are asked for; as many where they only wait for the disk."""
ALL = slice(None)


class Batch(NamedTuple):
    """Cropped and mirrored patches as bytes, with what the network's input stage needs to finish them."""

    patches: Tensor
    """uint8 [B, crop, crop, 3]."""
    labels: Tensor
    """int64 [B]."""
    offsets: np.ndarray
    """int64 [B, 2]: top and left of each patch in its image."""
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
    threads: Threads | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch from number `start` on; the images that fill no whole batch are left out.

    The order is random, so other images are left out in each epoch. Of each batch only the `rows` are made, where
    several processes share it. `threads` are those of a caller that computes on the same cores: see `in_background`.
    """
    labels = torch.tensor(split.labels)

    def choose(positions: range) -> tuple[list[int], np.ndarray]:
        chosen = slice(positions.start, positions.stop)
        return draws.order[chosen].tolist(), np.column_stack([draws.offsets[chosen], draws.mirrored[chosen]])

    steps = range(start, len(split) // batch_size)
    ranges = (range(step * batch_size, (step + 1) * batch_size)[rows] for step in steps)
    for patches, positions in _patches(split, ranges, crop, choose, workers, threads):
        chosen = slice(positions.start, positions.stop)
        yield Batch(
            patches,
            labels[torch.from_numpy(draws.order[chosen])],
            draws.offsets[chosen],
            draws.mirrored[chosen],
            draws.colour[chosen],
        )


def in_order(
    split: StoreSplit, batch_size: int, workers: int = 0, rows: slice = ALL, threads: Threads | None = None
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """All images (or a range of them, `rows`), whole, in the order of the store: uint8 [B, S, S, 3], labels int64
    [B], first index.

    The last batch may be smaller. `threads` as for `training_batches`.
    """
    labels = torch.tensor(split.labels)

    def choose(positions: range) -> tuple[range, np.ndarray]:
        return positions, np.zeros((len(positions), 3), np.int64)

    wanted = range(len(split))[rows]
    ranges = (wanted[first : first + batch_size] for first in range(0, len(wanted), batch_size))
    for images, positions in _patches(split, ranges, split.size, choose, workers, threads):
        yield images, labels[positions.start : positions.stop], positions.start


def _patches(
    split: StoreSplit,
    batches: Iterator[range],
    side: int,
    choose: Callable[[range], tuple[Sequence[int], np.ndarray]],
    workers: int,
    threads: Threads | None,
) -> Iterator[tuple[Tensor, range]]:
    """What `choose` says of each range: the indices of images, and the places that `StoreSplit.decode` takes."""

    def read(_: np.ndarray, positions: range) -> list[bytes]:
        return [split.encoded(index) for index in choose(positions)[0]]

    def fill(patches: np.ndarray, positions: range) -> None:
        indices, places = choose(positions)
        split.decode(indices, [split.encoded(index) for index in indices], places, patches)

    def decode(patches: np.ndarray, positions: range, encoded: list[list[bytes]], pool: Executor) -> None:
        indices, places = choose(positions)
        split.decode(indices, list(chain.from_iterable(encoded)), places, patches, threads, pool)

    return in_background(batches, side, read if threads else fill, workers, decode if threads else None)


def in_background(
    batches: Iterator[range],
    side: int,
    work: Callable[[np.ndarray, range], Any],
    workers: int,
    finish: Callable[[np.ndarray, range, list[Any], Executor], None] | None = None,
) -> Iterator[tuple[Tensor, range]]:
    """Yield (images, positions) for each range, which `work` fills part by part in `BATCHES_AHEAD` while the caller
    works.

    With `finish` that only gets what is needed, and `finish` makes the images of it when the caller asks for them.
    That is for callers that themselves compute on all cores: of threads that share a core with others, each waits for
    those that have not had it yet. An error in a worker is raised here, at the batch that it belongs to.
    """
    pixels.library()  # built now, not by all threads at once
    count = workers or (MOST_WORKERS if finish else min(MOST_WORKERS, cores()))
    with ThreadPoolExecutor(count, thread_name_prefix="images") as pool:
        ahead: deque[tuple[np.ndarray, range, list[Future[Any]]]] = deque()

        def submit() -> None:
            positions = next(batches, None)
            if positions is None:
                return
            # From NumPy, which asks Linux for huge pages, and not from torch, which does not.
            array = np.empty((len(positions), side, side, 3), np.uint8)
            tasks = [
                pool.submit(work, array[i : i + IMAGES_PER_TASK], positions[i : i + IMAGES_PER_TASK])
                for i in range(0, len(positions), IMAGES_PER_TASK)
            ]
            ahead.append((array, positions, tasks))

        try:
            for _ in range(BATCHES_AHEAD):
                submit()
            while ahead:
                array, positions, tasks = ahead.popleft()
                made = [task.result() for task in tasks]
                submit()
                if finish is not None:
                    finish(array, positions, made, pool)
                yield torch.from_numpy(array), positions
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
