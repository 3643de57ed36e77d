"""Batches for a GPU with 1, 2, 4, ... threads, up to one per core, and what Python takes of it.

    python -m benchmarks.loading.scaling stores/imagenette --out results.json

The threads read and decode as `alexnet train` on a GPU has them do it: batches of 128 crops of 224x224 pixels, in
pinned memory if there is a GPU. The store is made as large as ImageNet by hard links (`store_sizes.py`), with `--rows`
rows. Prints images per second (the median, and the slowest and fastest round), and the microseconds of processor time
per image of the thread that runs Python, after the first batch of a round: what no number of cores makes faster.
"""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.model.cpu import kernels
from alexnet.native.processor import cores
from benchmarks.comparison import Contender, Section, add_results, compare, options
from benchmarks.loading.store_sizes import make_linked_store


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("store", type=Path)
    parser.add_argument("--threads", nargs="+", type=int, default=doublings(cores()))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--images", type=int, default=8192, help="images that each round loads, for each thread")
    parser.add_argument("--rows", type=int, default=1_300_000, help="of the store")
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet train` does
    with tempfile.TemporaryDirectory(dir=arguments.store.parent) as name:  # hard links stay on one disk
        make_linked_store(arguments.store, Path(name, "linked"), arguments.rows)
        split = Store(Path(name, "linked")).split("train")
        results = measure(split, arguments)
    add_results(arguments.out, Section("threads", arguments.rounds, results, ["torch"]))


def doublings(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    return sorted({most, *itertools.takewhile(lambda count: count < most, (2**power for power in range(32)))})


def measure(split: StoreSplit, arguments: Any) -> dict[str, Any]:
    draws = augment.draw_epoch(AugmentConfig(), len(split), split.size, arguments.crop, seed=0, epoch=0)
    assert len(split.labels) == len(split)  # opens the shards
    python: dict[str, list[float]] = {}
    contenders: dict[str, Contender] = {}
    for threads in arguments.threads:
        title = f"{threads} thread{'s' if threads > 1 else ''}"
        count = min(arguments.images * threads, len(split)) // arguments.batch_size
        python[title] = []
        work = loading(split, draws, threads, arguments.batch_size, arguments.crop, count, python[title])
        contenders[title] = work, float(count * arguments.batch_size)
    rates = compare(f"loading batches of {arguments.batch_size}", contenders, arguments.rounds)
    microseconds = {title: 1e6 * sum(times) / len(times) / arguments.batch_size for title, times in python.items()}
    for title, each in microseconds.items():
        print(f"  {title:44} {each:9.2f} microseconds of Python per image", flush=True)
    return {"loading": rates, "python_microseconds_per_image": microseconds}


def loading(
    split: StoreSplit, draws: augment.Draws, threads: int, batch: int, crop: int, count: int, python: list[float]
) -> Callable[[], None]:
    """Work that loads `count` batches, and adds the processor time of its thread in seconds, after the first batch, to
    `python`."""
    pin = torch.cuda.is_available()

    def work() -> None:
        batches = loader.training_batches(split, draws, batch, crop, workers=threads, pin=pin)
        next(batches)
        began = time.thread_time()
        for _ in itertools.islice(batches, count - 1):
            pass
        python.append((time.thread_time() - began) / (count - 1))

    return work


if __name__ == "__main__":
    main()
