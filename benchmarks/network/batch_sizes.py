"""Whether cost per image stays flat: training from batch 32 to 512, loading from 1 thousand to 1.3 million rows, and
training with the loader that feeds it.

    python -m benchmarks.network.batch_sizes stores/imagenette --out benchmarks/results/today.json

- training step: `AlexNet` (paper) as `alexnet train` runs it, on one repeated batch of each size
- rows: stores whose shards are all the same shard of the given store, hard-linked under many names, so that 1.3 million
  rows need no more disk than two thousand; each is opened and read in a process of its own. The bytes then lie in
  memory, as they do after a first epoch where there is room: this measures finding rows, not the disk
- fed: steps with batches of the given store, and with one of them again and again, in turn

Images per second: medians, slowest and fastest round.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from alexnet.bench.feeding import feeding
from alexnet.bench.network import step_of, training_step
from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store
from alexnet.data.store.shard import Row, Shard, ShardInfo
from alexnet.model.cpu import kernels
from alexnet.networks import NETWORKS
from benchmarks.comparison import Form, compare, keep, options
from benchmarks.separate_process import Elsewhere

CPU = torch.device("cpu")
BATCH, FEW = 128, 1024
WARM = 5  # steps that are not counted: a network's first ones get their memory from the system


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("store", type=Path)
    parser.add_argument("--only", nargs="+", choices=["batches", "rows", "fed"], default=["batches", "rows", "fed"])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32, 64, 128, 256, 512])
    parser.add_argument("--rows", nargs="+", type=int, default=[FEW, 10_000, 100_000, 1_300_000])
    parser.add_argument("--images", type=int, default=4096, help="images that each round loads")
    arguments = parser.parse_args()
    kernels.reuse_memory()
    results: dict[str, Any] = {}
    if "rows" in arguments.only:
        results |= rows(arguments)
    for name in arguments.dtypes:
        if "batches" in arguments.only:
            results |= batches(name, arguments)
        if "fed" in arguments.only:
            results |= fed(name, arguments)
    keep(arguments.out, "flatness", arguments.rounds, results, ["torch", "pyarrow"])


def batches(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    config, dtype = NETWORKS["paper"].config, getattr(torch, name)
    most = max(arguments.batch_sizes)
    forms: dict[str, Form] = {}
    for batch in arguments.batch_sizes:
        step = training_step(config, batch, dtype, CPU)
        repeated(step, WARM)()
        forms[f"batch {batch}"] = repeated(step, most // batch), most
    title = f"training step, {name}"
    return {title: spread(compare(title, forms, arguments.rounds, limit=None))}


def repeated(work: Any, times: int) -> Any:
    def several() -> None:
        for _ in range(times):
            work()

    return several


def rows(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        forms, said = {}, {}
        for count in arguments.rows:
            path = Path(name, str(count))
            linked_store(arguments.store, path, count)
            other = stack.enter_context(
                Elsewhere("benchmarks.loading.worker_alexnet", path, BATCH, 224, arguments.images)
            )
            title = f"{other.said['rows']} rows"
            forms[title], said[title] = (other.work, loaded(other.said["rows"], arguments.images)), other.said
        results = spread(compare("loading", forms, arguments.rounds, limit=None))
        for title, entry in said.items():
            times = ", ".join(f"{what} {1000 * taken:.0f} ms" for what, taken in entry["seconds"].items())
            memory = ", ".join(f"{what} {size / 1e6:.0f} MB" for what, size in entry["bytes"].items())
            print(f"  {title:20} {times}; {memory}")
        return {"loading": results, "opening": said}


def loaded(count: int, images: int) -> float:
    """What `loading_with_alexnet.py` loads in a round."""
    return float(math.ceil(images / count) * (min(images, count) // BATCH * BATCH))


def linked_store(given: Path, path: Path, count: int) -> None:
    """A store of about `count` rows, all from the first shard of `given`; of fewer, where that has more."""
    store = Store(given)
    path.mkdir()
    for file in ("mean.npy", "covariance.npy"):
        shutil.copy(given / file, path / file)
    shard = next(shard for shard in store.info["shards"] if shard["split"] == "train")
    first = path / "train-00000.arrow"
    if count < shard["rows"]:
        split, few = store.split("train"), Shard(first)
        few.add(Row(bytes(split.encoded(row)), int(split.labels[row]), split.key(row)) for row in range(count))
        shard = few.close("train")
    else:
        shutil.copy(given / shard["file"], first)
    shards: list[ShardInfo] = []
    for number in range(max(1, round(count / shard["rows"]))):
        file = path / f"train-{number:05}.arrow"
        if number:
            os.link(first, file)
        shards.append({**shard, "file": file.name})
    splits = {"train": {"images": sum(each["rows"] for each in shards), "skipped": 0}}
    info = seal({**store.info, "splits": splits, "shards": shards, "skipped": []})
    (path / "store.json").write_text(json.dumps(info), encoding="utf-8")


def fed(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    config, dtype = NETWORKS["paper"].config, getattr(torch, name)
    result = feeding(step_of(config, dtype, CPU), arguments.store, config, BATCH, dtype, CPU, arguments.rounds)
    one, other = result["fed_images_per_second"], result["repeated_images_per_second"]
    title = f"fed by the loader, {name}"
    print(f"\n{title}: {one:.1f} /s, one batch repeated {other:.1f} /s: {1 - one / other:.1%} slower", flush=True)
    return {title: result}


def spread(rates: dict[str, Any]) -> dict[str, Any]:
    """Says how far the slowest median is from the fastest."""
    medians = [rate["median"] for rate in rates.values()]
    print(f"  slowest {min(medians) / max(medians):.0%} of the fastest", flush=True)
    return rates


if __name__ == "__main__":
    main()
