"""Small stores for tests, written row by row."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet.data.image.encode import encode
from alexnet.data.prepare.partial import Partial
from alexnet.data.store.shard import Row
from alexnet.data.store.statistics import Sums

CLASSES = [["n00000001", "one"], ["n00000002", "two"], ["n00000003", "three"]]


def images(count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 [count, size, size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def rows(content: np.ndarray, start: int = 0) -> list[Row]:
    """Row i has label i modulo 3 and key "image i"."""
    return [Row(encode(image), number % 3, f"image {number}") for number, image in enumerate(content, start)]


def write_store(store: Path, train: Sequence[list[Row]], val: Sequence[list[Row]], content: np.ndarray) -> None:
    """A store of shards of these rows. `content` are the training images, for their mean and covariance."""
    size = content.shape[1]
    sums = Sums.none(size)
    for image in content:
        sums.add_image(image)
    plan = {
        "source": {"kind": "folder", "path": "/images"},
        "options": {"quality": 95},
        "classes": CLASSES,
        "encoding": "png",
    }
    with Partial(store, size, plan) as partial:
        for name, shards in (("train", train), ("val", val)):
            seen = 0
            for number, each in enumerate(shards):
                with partial.shard(name) as shard:
                    shard.add(each)
                    seen += len(each)
                    partial.commit(
                        name, shard, [], sums if (name, number) == ("train", 0) else None, seen, each[-1].key
                    )
        partial.finish()
