"""Reads rows of a store and decodes crops of their images, a whole batch per call, on threads of C++ (`rows.h`)."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from alexnet.data.image import pixels
from alexnet.data.image.pixels import address
from alexnet.native.library import Library

ROW = np.dtype(
    [("position", "i8"), ("key", "i8"), ("length", "i4"), ("label", "i4"), ("key_length", "i4"), ("crc32", "u4")]
)
"""Where a row of a shard is: `struct Row` of rows.h, which describes the fields."""
PATIENCE = 100
"""Milliseconds after which a waiting thread looks whether Ctrl-C was pressed."""


class Shards(NamedTuple):
    """Open shards, see `open_shards`."""

    count: int
    entries: int
    """Address of the descriptor of each file, and the addresses of its rows and of its keys, int64 [count, 3]."""
    ends: int
    """Address of the numbers of rows that each shard and those before it have, int64 [count]."""
    kept: Any
    """What the descriptors and addresses belong to."""


class Reading(NamedTuple):
    """Crops that are being read."""

    job: int
    shards: Shards
    indices: np.ndarray
    crops: np.ndarray
    out: np.ndarray
    done: np.ndarray
    """bool [N]."""


def open_shards(files: Sequence[int], addresses: Sequence[tuple[int, int]], rows: Sequence[int], kept: Any) -> Shards:
    """Shards, from the descriptors of their files, the addresses of their rows, [R] of the type `ROW`, and of their
    keys, and their numbers of rows. `kept` is kept with the result."""
    entries = np.array([(file, *each) for file, each in zip(files, addresses, strict=True)], np.int64)
    ends = np.cumsum(rows, dtype=np.int64)
    return Shards(len(ends), address(entries), address(ends), (entries, ends, kept))


def start_threads(count: int) -> "DecodingThreads | None":
    """`count` threads, or as many as the system allows; None where the compiled functions are not available."""
    library = pixels.library()
    threads = library and library.start_threads(count)
    return DecodingThreads(library, threads) if library and threads else None


class DecodingThreads:
    """Threads that read and decode. They end with the `with` statement, which gives up what is not finished."""

    def __init__(self, library: Library, threads: int) -> None:
        self._library, self._threads = library, threads
        self._process, self._this_process = os.getpid(), os.getpid  # `os` may be gone when the interpreter ends

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._this_process() == self._process:  # a forked process has none of its parent's threads
            self._library.end_threads(self._threads)

    def begin(
        self, shards: Shards, indices: np.ndarray, shape: tuple[int, int], crops: np.ndarray, out: np.ndarray
    ) -> Reading:
        """Begin to read the rows `indices`, int64 [N], which count through all shards, to compare them with their
        checksums, and to decode a crop of each into `out`.

        The result must be kept until it was given to `finish`, or the threads ended. `shape`, `crops` and `out` are as
        for `pixels.decode_crops`. A row or a crop that is not there is left out.

        Raises ValueError for arrays of another kind.
        """
        count = len(indices)
        for name, array, of in (("indices", indices, (count,)), ("crops", crops, (count, 3))):
            if array.dtype != np.int64 or array.shape != of or not array.flags.c_contiguous:
                raise ValueError(f"the {name} are {array.dtype} {list(array.shape)}: give contiguous int64 {list(of)}")
        if out.dtype != np.uint8 or out.ndim != 4 or (len(out), out.shape[3]) != (count, 3):
            raise ValueError(f"crops would be written to {out.dtype} {list(out.shape)}: give uint8 [{count}, ., ., 3]")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError("crops would be written to an array that is not contiguous or not writeable")
        done = np.zeros(count, bool)
        rows, columns = out.shape[1:3]
        inputs = shards.count, shards.entries, shards.ends, count, address(indices), *shape, address(crops)
        job = self._library.begin_crops(self._threads, *inputs, rows, columns, address(out), address(done))
        return Reading(job, shards, indices, crops, out, done)

    def finish(self, reading: Reading) -> np.ndarray | None:
        """Wait until the crops are read, without the interpreter lock. Returns None if all are done, or which of them
        are, bool [N].

        The others were not read, do not match their checksum, or are left out by `pixels.decode_crops`; their part of
        `out` may have been written to.
        """
        left, count, done = -1, len(reading.done), address(reading.done)
        while left < 0:
            left = self._library.finish_crops(self._threads, reading.job, PATIENCE, count, done)
        return reading.done if left else None
