"""Batches of images, made in the background by threads while the network trains (paper, section 4.1).

Reading and decoding release Python's lock, so that threads use all cores without copies between processes.
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
MAX_WORKERS = 8
"""Threads, unless more are asked for: one per core up to this number, or this number where they only read."""
ALL = slice(None)


class TrainingBatch(NamedTuple):
    """Mirrored crops as bytes, with what the network's input stage needs to finish them."""

    crops: Tensor
    """uint8 [B, crop, crop, 3]."""
    labels: Tensor
    """int64 [B]."""
    offsets: np.ndarray
    """int64 [B, 2]: top and left of each crop in its image."""
    mirrored: np.ndarray
    """bool [B]."""
    colour_alphas: np.ndarray
    """float32 [B, 3]: multiples of the principal components of colour."""


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
) -> Iterator[TrainingBatch]:
    """The batches of one epoch, from number `start` on. The last images, too few for a whole batch, are left out.

    Only the `rows` of each batch are made, for processes that share it. `threads` are those of a caller that computes
    on the same cores: see `in_background`.
    """
    labels = torch.tensor(split.labels)

    def choose(positions: range) -> tuple[list[int], np.ndarray]:
        chosen = slice(positions.start, positions.stop)
        return draws.order[chosen].tolist(), np.column_stack([draws.offsets[chosen], draws.mirrored[chosen]])

    steps = range(start, len(split) // batch_size)
    ranges = (range(step * batch_size, (step + 1) * batch_size)[rows] for step in steps)
    for crops, positions in _decoded_crops(split, ranges, crop, choose, workers, threads):
        chosen = slice(positions.start, positions.stop)
        yield TrainingBatch(
            crops,
            labels[torch.from_numpy(draws.order[chosen])],
            draws.offsets[chosen],
            draws.mirrored[chosen],
            draws.colour_alphas[chosen],
        )


def in_order(
    split: StoreSplit, batch_size: int, workers: int = 0, rows: slice = ALL, threads: Threads | None = None
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """All images, whole, in the order of the store, or the range `rows` of them: uint8 [B, S, S, 3], labels int64 [B],
    index of the first.

    The last batch may be smaller. `threads` as for `training_batches`.
    """
    labels = torch.tensor(split.labels)

    def choose(positions: range) -> tuple[range, np.ndarray]:
        return positions, np.zeros((len(positions), 3), np.int64)

    wanted = range(len(split))[rows]
    ranges = (wanted[first : first + batch_size] for first in range(0, len(wanted), batch_size))
    for images, positions in _decoded_crops(split, ranges, split.size, choose, workers, threads):
        yield images, labels[positions.start : positions.stop], positions.start


def _decoded_crops(
    split: StoreSplit,
    batches: Iterator[range],
    crop: int,
    choose: Callable[[range], tuple[Sequence[int], np.ndarray]],
    workers: int,
    threads: Threads | None,
) -> Iterator[tuple[Tensor, range]]:
    """For each range of positions, the crops that `choose` returns for it: indices of images, and the top, left and
    mirroring that `StoreSplit.decode` takes."""

    def read(_: np.ndarray, positions: range) -> list[bytes]:
        return [split.encoded(index) for index in choose(positions)[0]]

    def read_and_decode(out: np.ndarray, positions: range) -> None:
        indices, crops = choose(positions)
        split.decode(indices, [split.encoded(index) for index in indices], crops, out)

    def decode(out: np.ndarray, positions: range, encoded: list[list[bytes]], pool: Executor) -> None:
        indices, crops = choose(positions)
        split.decode(indices, list(chain.from_iterable(encoded)), crops, out, threads, pool)

    if threads:
        return in_background(batches, crop, read, workers, finish=decode)
    return in_background(batches, crop, read_and_decode, workers)


def in_background(
    batches: Iterator[range],
    size: int,
    work: Callable[[np.ndarray, range], Any],
    workers: int,
    finish: Callable[[np.ndarray, range, list[Any], Executor], None] | None = None,
) -> Iterator[tuple[Tensor, range]]:
    """Yield (images, positions) for each range of positions: uint8 [B, size, size, 3].

    Threads prepare `BATCHES_AHEAD` batches ahead: `work` fills part of a batch, and is given that part and its
    positions. With `finish`, `work` only reads what is needed, and `finish` makes the batch from what `work` returned,
    when the caller asks for it. That is for callers that compute on all cores themselves: a computing thread that
    shares its core with another holds up all the rest. An error in a thread is raised here, at its batch.
    """
    pixels.library()  # built now, not by all threads at once
    count = workers or (MAX_WORKERS if finish else min(MAX_WORKERS, cores()))
    with ThreadPoolExecutor(count, thread_name_prefix="images") as pool:
        ahead: deque[tuple[np.ndarray, range, list[Future[Any]]]] = deque()

        def submit() -> None:
            positions = next(batches, None)
            if positions is None:
                return
            # From NumPy, which asks Linux for huge pages, and not from torch, which does not.
            array = np.empty((len(positions), size, size, 3), np.uint8)
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
                results = [task.result() for task in tasks]
                submit()
                if finish is not None:
                    finish(array, positions, results, pool)
                yield torch.from_numpy(array), positions
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
