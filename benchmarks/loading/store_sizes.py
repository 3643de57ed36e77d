"""Loading throughput, opening time and memory from one thousand to 1.3 million rows.

    python -m benchmarks.loading.store_sizes stores/imagenette --out results.json

The shards of each store are hard links to the first shard of the given one: 1.3 million rows need no more disk than two
thousand. Each store is opened and read in a process of its own (`worker_alexnet.py`). Its bytes are in memory, as after
a first epoch where memory suffices: this measures how rows are found, not the disk. Prints images per second (the
median, and the slowest and fastest round), and of each store how long opening it takes and the memory of its process.
"""

import contextlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store
from alexnet.data.store.shard import Row, Shard, ShardInfo
from benchmarks.comparison import Contender, Section, add_results, compare, options, print_flatness
from benchmarks.separate_process import SeparateProcess

BATCH, CROP = 128, 224


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rows", nargs="+", type=int, default=[1024, 10_000, 100_000, 1_300_000])
    parser.add_argument("--images", type=int, default=4096, help="images that each round loads")
    arguments = parser.parse_args()
    results = measure(arguments.store, arguments.rows, arguments.images, arguments.rounds)
    add_results(arguments.out, Section("store sizes", arguments.rounds, results, ["torch", "pyarrow"]))


def measure(store: Path, sizes: list[int], images: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        opening: dict[str, Any] = {}
        for size in sizes:
            path = Path(name, str(size))
            make_linked_store(store, path, size)
            worker = SeparateProcess("benchmarks.loading.worker_alexnet", path, BATCH, CROP, images)
            description = stack.enter_context(worker).description
            title = f"{description['rows']} rows"
            contenders[title], opening[title] = (worker.run, images_loaded(description["rows"], images)), description
        rates = compare("loading", contenders, rounds)
        print_flatness(rates)
    for title, found in opening.items():
        times = ", ".join(f"{what} {1000 * seconds:.0f} ms" for what, seconds in found["seconds"].items())
        memory = ", ".join(f"{what} {size / 1e6:.0f} MB" for what, size in found["bytes"].items())
        print(f"  {title:20} {times}; {memory}")
    return {"loading": rates, "opening": opening}


def images_loaded(rows: int, images: int) -> float:
    """Images that `worker_alexnet.py` loads in a round when asked for `images`: whole batches, epoch after epoch."""
    return float(math.ceil(images / rows) * (min(images, rows) // BATCH * BATCH))


def make_linked_store(given: Path, path: Path, rows: int) -> None:
    """Write a store of about `rows` rows at `path`, from the first training shard of `given`: links to it, or fewer
    rows of it."""
    store = Store(given)
    path.mkdir()
    for file in ("mean.npy", "covariance.npy"):
        shutil.copy(given / file, path / file)
    shard = next(shard for shard in store.info["shards"] if shard["split"] == "train")
    first = path / "train-00000.arrow"
    if rows < shard["rows"]:
        split, fewer = store.split("train"), Shard(first)
        fewer.add(Row(bytes(split.encoded(row)), int(split.labels[row]), split.key(row)) for row in range(rows))
        shard = fewer.close("train")
    else:
        shutil.copy(given / shard["file"], first)
    shards: list[ShardInfo] = []
    for number in range(max(1, round(rows / shard["rows"]))):
        file = path / f"train-{number:05}.arrow"
        if number:
            os.link(first, file)
        shards.append({**shard, "file": file.name})
    splits = {"train": {"images": sum(each["rows"] for each in shards), "skipped": 0}}
    info = seal({**store.info, "splits": splits, "shards": shards, "skipped": []})
    (path / "store.json").write_text(json.dumps(info), encoding="utf-8")


if __name__ == "__main__":
    main()
