"""Batches of images, made in the background by threads while the network trains (paper, section 4.1).

Who reads and decodes depends on who computes meanwhile:

- A network on a GPU: threads of C++ (`rows.h`), one per core, a whole batch per call.
- A network on the same cores, small images, which are stored as they are: the same threads, since they have little to
  do but wait for the disk.
- A network on the same cores, JPEG: threads of Python read, and the network's own threads decode between two steps.
- Without compiled functions: threads of Python read and decode.

All make the same batches. They release Python's lock and share memory, so that nothing is copied between processes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.data.augment import Draws
from alexnet.data.image import pixels
from alexnet.data.image.rows import DecodingThreads, Reading, Shards, start_threads
from alexnet.data.store.reader import StoreSplit
from alexnet.native.library import Threads
from alexnet.native.processor import cores

IMAGES_PER_TASK = 16
BATCHES_AHEAD = 3
KEPT = 4
"""How long a batch in pinned memory is valid: until the caller asks for the fourth batch after it. Then its memory is
used for another batch, and what copies from it must be done."""
MAX_WORKERS = 8
"""Threads, unless another number is asked for, where they only read; of Python, where they also decode, one per core up
to this number."""
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


class Buffer(NamedTuple):
    """Memory for a batch, seen in two ways."""

    tensor: Tensor
    array: np.ndarray


Allocate = Callable[[tuple[int, ...]], Buffer]
"""Gives memory of a shape, uint8."""


def pageable(shape: tuple[int, ...]) -> Buffer:
    """Ordinary memory, uint8, not set to anything."""
    # From NumPy, which asks Linux for huge pages, and not from torch, which does not.
    array = np.empty(shape, np.uint8)
    return Buffer(torch.from_numpy(array), array)


def pinned(shape: tuple[int, ...]) -> Buffer:
    """Memory that a GPU copies from while the program goes on, uint8, not set to anything."""
    tensor = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    return Buffer(tensor, tensor.numpy())


class Ring:
    """Memory for batches of one shape, which is used again: see `KEPT`."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._buffers: deque[Buffer] = deque()

    def __call__(self, shape: tuple[int, ...]) -> Buffer:
        if len(self._buffers) < BATCHES_AHEAD + KEPT:
            self._buffers.append(self._allocate(shape))
        else:
            self._buffers.rotate(-1)
        return self._buffers[-1]


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
    pin: bool = False,
) -> Iterator[TrainingBatch]:
    """The batches of one epoch, from number `start` on. The last images, too few for a whole batch, are left out.

    Only the `rows` of each batch are made, for processes that share it. `threads` are those of a caller that computes
    on the same cores: see `in_background`. Without them, `workers` threads make the batches; 0: one per core. With
    `pin`, crops are in pinned memory, from which a GPU copies while the program goes on. A batch is then valid until
    the caller asks for the `KEPT`th one after it.
    """
    order = draws.order.astype(np.int64, copy=False)
    labels = torch.from_numpy(split.labels[order])
    drawn = np.column_stack([draws.offsets, draws.mirrored]).astype(np.int64, copy=False)

    def choose(positions: range) -> tuple[np.ndarray, np.ndarray]:
        chosen = slice(positions.start, positions.stop)
        return order[chosen], drawn[chosen]

    steps = range(start, len(split) // batch_size)
    ranges = (range(step * batch_size, (step + 1) * batch_size)[rows] for step in steps)
    allocate = Ring(pinned) if pin else pageable
    for crops, positions in _decoded_crops(split, ranges, crop, choose, workers, threads, allocate):
        chosen = slice(positions.start, positions.stop)
        yield TrainingBatch(
            crops,
            labels[chosen],
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

    def choose(positions: range) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(positions.start, positions.stop), np.zeros((len(positions), 3), np.int64)

    wanted = range(len(split))[rows]
    ranges = (wanted[first : first + batch_size] for first in range(0, len(wanted), batch_size))
    for images, positions in _decoded_crops(split, ranges, split.size, choose, workers, threads, pageable):
        yield images, labels[positions.start : positions.stop], positions.start


Choose = Callable[[range], tuple[np.ndarray, np.ndarray]]
"""From positions to indices of images, int64 [N], and top, left and mirroring of their crops, as `StoreSplit.decode`
takes them."""


def _decoded_crops(
    split: StoreSplit,
    batches: Iterator[range],
    crop: int,
    choose: Choose,
    workers: int,
    threads: Threads | None,
    allocate: Allocate,
) -> Iterator[tuple[Tensor, range]]:
    """For each range of positions, the crops that `choose` returns for it."""

    def read(_: np.ndarray, positions: range) -> list[bytes]:
        return [split.encoded(index) for index in choose(positions)[0].tolist()]

    def read_and_decode(out: np.ndarray, positions: range) -> None:
        indices, crops = choose(positions)
        split.decode(indices.tolist(), read(out, positions), crops, out)

    def decode(out: np.ndarray, positions: range, encoded: list[list[bytes]], pool: Executor) -> None:
        indices, crops = choose(positions)
        split.decode(indices.tolist(), list(chain.from_iterable(encoded)), crops, out, threads, pool)

    if threads and split.is_compressed:
        return in_background(batches, crop, read, workers, decode, allocate)
    shards = split.all_open()
    native = start_threads(workers or (cores() if split.is_compressed else MAX_WORKERS)) if shards else None
    if shards and native:
        return _in_native_threads(split, shards, batches, crop, choose, native, allocate)
    return in_background(batches, crop, read_and_decode, workers, allocate=allocate)


def _in_native_threads(
    split: StoreSplit,
    shards: Shards,
    batches: Iterator[range],
    crop: int,
    choose: Choose,
    native: DecodingThreads,
    allocate: Allocate,
) -> Iterator[tuple[Tensor, range]]:
    """As `_decoded_crops`, by the threads `native`, `BATCHES_AHEAD` batches ahead. An error is raised at its batch."""
    ahead: deque[tuple[Tensor, range, Reading]] = deque()

    def begin() -> None:
        positions = next(batches, None)
        if positions is not None:
            images, array = allocate((len(positions), crop, crop, 3))
            ahead.append((images, positions, split.begin_crops(shards, *choose(positions), array, native)))

    with native:
        for _ in range(BATCHES_AHEAD):
            begin()
        while ahead:
            images, positions, reading = ahead.popleft()
            split.finish_crops(reading, native)
            begin()
            yield images, positions


def in_background(
    batches: Iterator[range],
    size: int,
    work: Callable[[np.ndarray, range], Any],
    workers: int,
    finish: Callable[[np.ndarray, range, list[Any], Executor], None] | None = None,
    allocate: Allocate = pageable,
) -> Iterator[tuple[Tensor, range]]:
    """Yield (images, positions) for each range of positions: uint8 [B, size, size, 3], in memory from `allocate`.

    Threads prepare `BATCHES_AHEAD` batches ahead: `work` fills part of a batch, and is given that part and its
    positions. With `finish`, `work` only reads what is needed, and `finish` makes the batch from what `work` returned,
    when the caller asks for it. That is for callers that compute on all cores themselves: a computing thread that
    shares its core with another holds up all the rest. An error in a thread is raised here, at its batch.
    """
    pixels.library()  # built now, not by all threads at once
    count = workers or (MAX_WORKERS if finish else min(MAX_WORKERS, cores()))
    with ThreadPoolExecutor(count, thread_name_prefix="images") as pool:
        ahead: deque[tuple[Tensor, np.ndarray, range, list[Future[Any]]]] = deque()

        def submit() -> None:
            positions = next(batches, None)
            if positions is None:
                return
            images, array = allocate((len(positions), size, size, 3))
            tasks = [
                pool.submit(work, array[i : i + IMAGES_PER_TASK], positions[i : i + IMAGES_PER_TASK])
                for i in range(0, len(positions), IMAGES_PER_TASK)
            ]
            ahead.append((images, array, positions, tasks))

        try:
            for _ in range(BATCHES_AHEAD):
                submit()
            while ahead:
                images, array, positions, tasks = ahead.popleft()
                results = [task.result() for task in tasks]
                submit()
                if finish is not None:
                    finish(array, positions, results, pool)
                yield images, positions
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
