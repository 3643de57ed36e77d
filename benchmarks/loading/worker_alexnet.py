"""Batches from a store, in a process of its own: how long opening takes, and how much memory.

    python -m benchmarks.loading.worker_alexnet STORE 128 224 4096

Arguments: the store, the batch size, the size of crops, and the images of a round.
"""

import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store
from alexnet.model.cpu import kernels
from benchmarks.separate_process import serve


def resident() -> dict[str, int]:
    """Bytes of this process: its own, and those of mapped files, which the system can drop."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {kind: int(lines[key].split()[0]) * 1024 for kind, key in (("own", "RssAnon"), ("mapped", "RssFile"))}


def prepare() -> tuple[dict[str, Any], Callable[[], object]]:
    path, batch, crop, images = sys.argv[1], *map(int, sys.argv[2:])
    kernels.reuse_memory()
    before, began = resident(), time.perf_counter()
    store = Store(path)
    split = store.split("train")
    opened = time.perf_counter()
    draws = augment.draw_epoch(AugmentConfig(), len(split), store.size, crop, seed=0, epoch=0)
    drawn = time.perf_counter()
    next(loader.training_batches(split, draws, batch, crop))
    first = time.perf_counter()

    def work() -> None:
        for _ in range(-(-images // len(split))):
            for _ in islice(loader.training_batches(split, draws, batch, crop), min(images, len(split)) // batch):
                pass

    work()
    seconds = {"opening": opened - began, "drawing an epoch": drawn - opened, "first batch": first - drawn}
    after = resident()
    grown = {kind: after[kind] - before[kind] for kind in after}
    return {"rows": len(split), "seconds": seconds, "bytes": grown}, work


if __name__ == "__main__":
    serve(prepare)
