"""Images that are in both splits: a validation error over images that were trained on is too good.

Images are the same when what is stored of them is, byte for byte. While a store is being written, each shard has a file
of digests beside it: uint64, one per row.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alexnet.data.store.info import DoublesInfo
from alexnet.data.store.reader import StoreSplit
from alexnet.data.store.shard import BATCH_ROWS, ShardInfo
from alexnet.files.arrays import read_array

SUFFIX = ".digests.npy"
MOST_EXAMPLES = 5


def digests_of(folder: Path, shard: str) -> Path:
    """The file of the digests of a shard, given its file name."""
    return (folder / shard).with_suffix(SUFFIX)


def find_doubles(folder: Path, shards: Sequence[ShardInfo], size: int, classes: int) -> DoublesInfo:
    """How many validation images are training images too, and the keys of some pairs of them."""
    digests = {
        name: [read_array(digests_of(folder, shard["file"])) for shard in shards if shard["split"] == name]
        for name in ("train", "val")
    }
    if not all(digests.values()):
        return {"images": 0, "examples": []}
    train, val = (np.concatenate(each) for each in digests.values())
    order = np.argsort(train, kind="stable")
    at = np.searchsorted(train, val, sorter=order)
    found = order[np.minimum(at, len(train) - 1)]
    both = np.flatnonzero(train[found] == val)
    splits = {
        name: StoreSplit(folder, [shard for shard in shards if shard["split"] == name], BATCH_ROWS, size, classes)
        for name in digests
    }
    examples = [
        [splits["train"].key(int(found[row])), splits["val"].key(int(row))] for row in both[:MOST_EXAMPLES].tolist()
    ]
    return {"images": len(both), "examples": examples}
