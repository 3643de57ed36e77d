"""`store.json`, the description of a store."""

import json
import random
import tempfile
from pathlib import Path

import numpy as np

from alexnet.data.prepare.partial import PartialStore
from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store
from alexnet.data.store.statistics import Sums
from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.stores import SIZE, read_split, store_rows

PLAN = {
    "source": {"kind": "folder", "path": "/images", "images": 21, "sha256": "0", "left_out": {}, "remarks": []},
    "options": {"quality": 95},
    "classes": [["n1", "one"], ["n2", "two"], ["n3", "three"]],
    "encoding": "bmp",
}
ODD_VALUES = (None, True, -1, 0, 2**31, 2**70, 0.5, "", "../x", "x" * 300, [], {}, [[]], {"images": -1})


def store_folder(folder: Path) -> Path:
    """An undamaged store in `folder`, made by the first call."""
    store = folder / "store"
    if not store.exists():
        sums = Sums.zeros(SIZE)
        sums.add_image(np.zeros((SIZE, SIZE, 3), np.uint8))
        with PartialStore(store, SIZE, PLAN) as partial:
            for split in ("train", "val"):
                with partial.new_shard(split) as shard:
                    shard.add(store_rows())
                    partial.commit(split, shard, [], sums if split == "train" else None, 5, "image 4")
            partial.finish()
    return store


def examples() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        data = (store_folder(Path(folder)) / "store.json").read_bytes()
    return [data, json.dumps(json.loads(data)).encode()]


def repair(data: bytes) -> bytes:
    """Replace one value by an odd one, where the file is still JSON, and correct the file's own checksum."""
    rng = random.Random(data)
    try:
        info = json.loads(data)
        at = info
        while isinstance(at, dict | list) and at:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = rng.choice(keys)
            if rng.random() < 0.3 or not isinstance(at[key], dict | list):
                at[key] = rng.choice(ODD_VALUES)
                break
            at = at[key]
        return json.dumps(seal(info)).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return data


def read(data: bytes, folder: Path) -> None:
    store = store_folder(folder)
    (store / "store.json").write_bytes(data)
    opened = Store(store)
    for name in opened.splits:
        read_split(opened.split(name))


FORMAT = Format("store.json", 8, examples, read, repair)
