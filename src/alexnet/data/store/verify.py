"""Reads a whole store and checks everything in it."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from alexnet.data.store.info import COPY_AGAIN
from alexnet.data.store.open_shards import PREPARE_AGAIN
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.data.store.statistics import Sums
from alexnet.files.checksums import checksum
from alexnet.progress import Progress

IMAGES_PER_TASK = 256

Item = TypeVar("Item")
Result = TypeVar("Result")


def verify_store(path: Path | str) -> dict[str, Any]:
    """Check that every shard has its checksum, every label is a class, every image decodes to the right size, and mean
    and covariance are those of the training images.

    (Of JPEG stores they are only roughly so: they were computed before the images were encoded.)

    Returns the images per split (`splits`), the numbers of `classes`, `shards` and `bytes`, and the `seconds` it took.
    Raises ValueError at the first fault, naming the file, and the row where there is one.
    """
    start = time.perf_counter()
    store = Store(path)
    _check_checksums(store)
    for name, count in store.splits.items():
        split = store.split(name)
        if len(split) != count:
            file = store.path / "store.json"
            raise ValueError(f"{file} says {count} images for {name} and {len(split)} in its shards: {COPY_AGAIN}")
        assert len(split.labels) == count  # reading them checks that all are classes
        sums = _sum_images(split, name)
        if name == "train":
            exact = store.info["encoding"] != "jpeg"
            _check_close(store.path / "mean.npy", store.mean, sums.mean(), exact)
            _check_close(store.path / "covariance.npy", store.covariance, sums.covariance(), exact)
    shards = store.info["shards"]
    return {
        "store": str(path),
        "splits": store.splits,
        "classes": len(store.classes),
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "seconds": time.perf_counter() - start,
    }


def _check_checksums(store: Store) -> None:
    shards = store.info["shards"]
    found = _in_threads(lambda shard: checksum(store.path / shard["file"]), shards)
    with Progress("checksums", total=len(shards), unit="shards") as bar:
        for shard, sha256 in zip(shards, found, strict=True):
            if sha256 != shard["sha256"]:
                file = store.path / shard["file"]
                raise ValueError(f"{file} does not match its checksum in store.json: {COPY_AGAIN}")
            bar.advance(1)


def _sum_images(split: StoreSplit, name: str) -> Sums:
    """Decode every image and add them up."""

    def add(indices: range) -> Sums:
        sums = Sums.zeros_16bit(split.size)
        for index in indices:
            sums.add_image(split.image(index))
        return sums

    total = Sums.zeros(split.size)
    tasks = [range(len(split))[start : start + IMAGES_PER_TASK] for start in range(0, len(split), IMAGES_PER_TASK)]
    with Progress(f"decoding {name}", total=len(split), unit="images") as bar:
        for sums in _in_threads(add, tasks):
            total.add(sums)
            bar.advance(sums.images)
    return total


def _in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
    """`work` of each item, in order. Hashing, decoding and NumPy release the interpreter lock."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(cancel_futures=True)


def _check_close(file: Path, stored: np.ndarray, found: np.ndarray, exact: bool) -> None:
    """ValueError unless two mean images or covariances are the same; without `exact`, as close as JPEG of low quality
    leaves them for images of pure noise."""
    if exact:
        same = np.allclose(stored, found, rtol=1e-5, atol=1e-3)
    elif stored.ndim == 3:
        same = np.allclose(stored.mean(axis=(0, 1)), found.mean(axis=(0, 1)), rtol=0, atol=8)
    else:
        same = np.trace(found) / 4 <= np.trace(stored) + 1 and np.trace(stored) / 4 <= np.trace(found) + 1
    if not same:
        raise ValueError(f"{file} does not match the training images: {PREPARE_AGAIN}")
