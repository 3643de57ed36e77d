"""Small stores for tests, written row by row, and ways to change them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from alexnet.data.image.encode import encode, encoding
from alexnet.data.prepare.partial import PartialStore
from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store
from alexnet.data.store.shard import Row
from alexnet.data.store.statistics import Sums
from alexnet.files.checksums import checksum

CLASSES = [["n00000001", "one"], ["n00000002", "two"], ["n00000003", "three"]]


def images(count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 [count, size, size, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


TRAIN, VAL = images(17), images(4, seed=1)


def rows(content: np.ndarray, start: int = 0) -> list[Row]:
    """Row i has label i modulo 3 and key "image i"."""
    return [Row(encode(image), number % 3, f"image {number}") for number, image in enumerate(content, start)]


def write_store(store: Path, train: Sequence[list[Row]], val: Sequence[list[Row]], content: np.ndarray) -> None:
    """A store of shards of these rows. `content` are the training images, for their mean and covariance."""
    size = content.shape[1]
    sums = Sums.zeros(size)
    for image in content:
        sums.add_image(image)
    plan = {
        "source": {"kind": "folder", "path": "/images", "images": 21, "sha256": "0", "left_out": {}, "remarks": []},
        "options": {"quality": 95},
        "classes": CLASSES,
        "encoding": encoding(size),
    }
    with PartialStore(store, size, plan) as partial:
        for name, shards in (("train", train), ("val", val)):
            seen = 0
            for number, each in enumerate(shards):
                with partial.new_shard(name) as shard:
                    shard.add(each)
                    seen += len(each)
                    partial.commit(
                        name, shard, [], sums if (name, number) == ("train", 0) else None, seen, each[-1].key
                    )
        partial.finish()


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Change store.json and its checksum."""
    info = json.loads((path / "store.json").read_text())
    change(info)
    (path / "store.json").write_text(json.dumps(seal(info)))


def flip_byte(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(data)


def replace_array(path: Path, name: str, array: np.ndarray) -> None:
    """Change an array and its checksum."""
    np.save(path / name, array)
    edit(path, lambda info: info["arrays"].update({name: checksum(path / name)}))


def write_store_with_row(path: Path, image: bytes, label: int = 0) -> None:
    """A store whose eleventh training row, the fourth of the second shard, is this one."""
    every = rows(TRAIN)
    every[10] = Row(image, label, "image 10")
    write_store(path, [every[:7], every[7:]], [rows(VAL)], TRAIN)


def read_all(path: Path) -> list[tuple[bytes, int, str]]:
    """Every row of a store, as one that trains on it sees it."""
    opened, found = Store(path), []
    for name in opened.splits:
        split = opened.split(name)
        rows = range(len(split))
        found += [(split.image(row).tobytes(), int(split.labels[row]), split.key(row)) for row in rows]
    return found
