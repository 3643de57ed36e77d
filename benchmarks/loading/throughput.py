"""Batches of a store's images for training: ours beside torchvision with PyTorch's DataLoader, WebDataset, tf.data
and FFCV.

    python -m benchmarks.loading.throughput stores/imagenette --ffcv ffcv-venv/bin/python --out results.json

All deliver batches of 128 patches of 224 pixels as bytes, cut out at random places of the same 256x256 JPEG images
and mirrored at random, with labels, on all cores. torchvision reads a folder of class folders, WebDataset tar files,
both as their manuals say. The limit is libjpeg-turbo decoding the same bytes on all cores and nothing else. tf.data and
FFCV run in processes of their own, FFCV in a virtual environment of its own: it is built from source against OpenCV
and libjpeg-turbo (`apt install libopencv-dev libturbojpeg0-dev; pip install ffcv pillow`), and encodes the pixels again
for its own file. One that is not there is listed with the reason. Needs `pip install -e .[bench]`.
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
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.transforms import v2
from webdataset import WebDataset, WebLoader  # type: ignore[attr-defined]

from alexnet.bench import limits
from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.model.cpu import kernels
from alexnet.native.processor import cores
from benchmarks.comparison import Form, compare, keep, options
from benchmarks.separate_process import Elsewhere, Unavailable

BATCH, CROP = 128, 224


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=int, default=4096, help="images in each round")
    parser.add_argument("--ffcv", default=sys.executable, help="Python of a virtual environment that has FFCV")
    arguments = parser.parse_args()
    kernels.reuse_memory()
    store = Store(arguments.store)
    split = store.split("train")
    count = min(arguments.images, len(split)) // BATCH * BATCH
    draws = augment.draw_epoch(AugmentConfig(), len(split), store.size, CROP, seed=0, epoch=0)
    chosen = [int(index) for index in draws.order[:count]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(split, chosen, folder)
        transform = v2.Compose([v2.PILToTensor(), v2.RandomCrop(CROP), v2.RandomHorizontalFlip()])
        forms: dict[str, Form] = {
            "limit": limits.decoding([split.encoded(index) for index in chosen], store.size),
            "ours": (all_of(lambda: ours(split, draws, count)), count),
            "torchvision, DataLoader": (all_of(lambda: torchvision_batches(folder, transform)), count),
            "WebDataset": (all_of(lambda: webdataset_batches(folder, transform)), count),
        }
        missing, versions = {}, {}
        with contextlib.ExitStack() as stack:
            for framework, script, python in (
                ("tf.data", "benchmarks.loading.worker_tf_data", sys.executable),
                ("FFCV", "benchmarks.loading.worker_ffcv", arguments.ffcv),
            ):
                try:
                    other = stack.enter_context(Elsewhere(script, folder / "files", BATCH, CROP, python=python))
                    other.work()  # what it cannot do shows here
                except Unavailable as reason:
                    missing[framework] = str(reason)
                    print(f"{framework}: {reason}", flush=True)
                    continue
                forms[framework] = (other.work, count)
                versions[framework] = other.said["version"]
            results = {f"{count} images": compare(f"loading {count} images", forms, arguments.rounds)}
    packages = ["torch", "torchvision", "webdataset", "simplejpeg"]
    keep(arguments.out, "loading", arguments.rounds, results, packages, missing, versions)


def all_of(batches: Callable[[], Iterable[object]]) -> Callable[[], None]:
    def work() -> None:
        for _ in batches():
            pass

    return work


def ours(split: StoreSplit, draws: augment.Draws, count: int) -> Iterator[loader.TrainingBatch]:
    return itertools.islice(loader.training_batches(split, draws, BATCH, CROP), count // BATCH)


def torchvision_batches(folder: Path, transform: Callable) -> Iterable[object]:
    images = datasets.ImageFolder(str(folder / "files"), transform)
    return DataLoader(images, BATCH, shuffle=True, num_workers=cores(), drop_last=True)


def webdataset_batches(folder: Path, transform: Callable) -> Iterable[object]:
    parts = [str(path) for path in sorted(folder.glob("*.tar"))]
    images = WebDataset(parts, shardshuffle=100, nodesplitter=None)
    images = images.shuffle(1000).decode("pil").to_tuple("jpg", "cls").map_tuple(transform, lambda label: label)
    return WebLoader(images.batched(BATCH, partial=False), batch_size=None, num_workers=cores())


def write_files(split: StoreSplit, chosen: list[int], folder: Path) -> None:
    """The same bytes as class folders and as tar files, eight for each core."""
    with contextlib.ExitStack() as stack:
        parts = [folder / f"part-{number:03}.tar" for number in range(8 * cores())]
        tars = [stack.enter_context(tarfile.open(part, "w")) for part in parts]
        _write(split, chosen, folder, tars)


def _write(split: StoreSplit, chosen: list[int], folder: Path, tars: list[tarfile.TarFile]) -> None:
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
