"""Images that are in two splits: an error over images that were trained on is too small.

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
    """How many images of the other splits are training images too, and the keys of some pairs: training, other."""
    of_train = [shard for shard in shards if shard["split"] == "train"]
    others = [shard for shard in shards if shard["split"] != "train"]
    if not of_train or not others:
        return {"images": 0, "examples": []}
    train, other = (
        np.concatenate([read_array(digests_of(folder, shard["file"])) for shard in each]) for each in (of_train, others)
    )
    order = np.argsort(train, kind="stable")
    at = np.searchsorted(train, other, sorter=order)
    found = order[np.minimum(at, len(train) - 1)]
    both = np.flatnonzero(train[found] == other)
    keys = [StoreSplit(folder, each, BATCH_ROWS, size, classes) for each in (of_train, others)]
    examples = [[keys[0].key(int(found[row])), keys[1].key(int(row))] for row in both[:MOST_EXAMPLES].tolist()]
    return {"images": len(both), "examples": examples}
