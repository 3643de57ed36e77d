"""Batches of training images: this package, PyTorch's DataLoader with torchvision, WebDataset, tf.data and FFCV.

    python -m benchmarks.loading.throughput stores/imagenette --ffcv ffcv-venv/bin/python --out results.json

All deliver batches of 128 crops of 224x224 bytes, at random offsets of the same 256x256 JPEG images and mirrored at
random, with labels, on all cores.

- alexnet: from the store, as `alexnet train` reads it
- PyTorch DataLoader, torchvision: `ImageFolder` on a folder of class folders
- WebDataset: tar files, as its manual says
- tf.data: the folder, in a process of its own (`worker_tf_data.py`)
- FFCV: its own file, in a process and a virtual environment of its own (`worker_ffcv.py`)
- libjpeg-turbo alone: decodes the same bytes on all cores and does nothing else

Prints images per second: the median, and the slowest and fastest round. A library that is not installed is listed with
the reason; `pip install -e .[bench]` installs all but FFCV.
"""

import contextlib
import io
import itertools
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from alexnet.bench import limits
from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.model.cpu import kernels
from alexnet.native.processor import cores
from benchmarks.comparison import OURS, Contender, Section, add_results, compare, options
from benchmarks.loading.pytorch_loaders import LOADERS
from benchmarks.separate_process import SeparateProcess, UnavailableError

BATCH, CROP = 128, 224
REFERENCE = "libjpeg-turbo alone"
TARS_PER_CORE = 8


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=int, default=4096, help="images in each round")
    parser.add_argument("--ffcv", default=sys.executable, help="Python of a virtual environment that has FFCV")
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet train` does
    store = Store(arguments.store)
    split = store.split("train")
    count = min(arguments.images, len(split)) // BATCH * BATCH
    draws = augment.draw_epoch(AugmentConfig(), len(split), store.size, CROP, seed=0, epoch=0)
    chosen = [int(index) for index in draws.order[:count]]
    missing, versions = {}, {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_files(split, chosen, folder)
        contenders: dict[str, Contender] = {
            REFERENCE: limits.decoding([split.encoded(index) for index in chosen], store.size),
            OURS: (exhausting(lambda: our_batches(split, draws, count)), count),
        }
        for library, batches in LOADERS.items():
            try:
                contenders[library] = (exhausting(batches(folder, BATCH, CROP)), count)
            except ImportError as reason:
                missing[library] = str(reason)
        for library, module, python in (
            ("tf.data", "worker_tf_data", sys.executable),
            ("FFCV", "worker_ffcv", arguments.ffcv),
        ):
            try:
                worker = SeparateProcess(f"benchmarks.loading.{module}", folder / "files", BATCH, CROP, python=python)
                stack.enter_context(worker).run()  # shows what it cannot do
            except UnavailableError as reason:
                missing[library] = str(reason)
                continue
            contenders[library] = (worker.run, count)
            versions[library] = worker.description["version"]
        for library, reason in missing.items():
            print(f"{library}: {reason}", flush=True)
        results = {f"{count} images": compare(f"loading {count} images", contenders, arguments.rounds, REFERENCE)}
    packages = ["torch", "torchvision", "webdataset", "simplejpeg"]
    section = Section("loading", arguments.rounds, results, packages, REFERENCE, versions, missing)
    add_results(arguments.out, section)


def exhausting(batches: Callable[[], Iterable[object]]) -> Callable[[], None]:
    """Work that takes every batch."""

    def work() -> None:
        for _ in batches():
            pass

    return work


def our_batches(split: StoreSplit, draws: augment.Draws, count: int) -> Iterator[loader.TrainingBatch]:
    return itertools.islice(loader.training_batches(split, draws, BATCH, CROP), count // BATCH)


def write_files(split: StoreSplit, chosen: list[int], folder: Path) -> None:
    """Write the same bytes as class folders below `files`, and as tar files."""
    with contextlib.ExitStack() as stack:
        paths = [folder / f"shard-{number:03}.tar" for number in range(TARS_PER_CORE * cores())]
        tars = [stack.enter_context(tarfile.open(path, "w")) for path in paths]
        for position, index in enumerate(chosen):
            data, label = bytes(split.encoded(index)), int(split.labels[index])
            file = folder / "files" / f"{label:04}" / f"{position}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            for suffix, content in (("jpg", data), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{position:06}.{suffix}")
                member.size = len(content)
                tars[position % len(tars)].addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    torch.multiprocessing.set_start_method("fork")
    main()
