"""Batches of small training images: this package, other libraries' loaders, and arrays in memory.

    python -m benchmarks.loading.small_images stores/cifar10 --out results.json

All deliver batches of 128 crops of 7/8 of the side as bytes, at random offsets and mirrored at random, with labels,
from the training images of the store, once each, in random order (`--images`: from so many of them).

- alexnet: from the store on disk, each image compared with its checksum, as `alexnet train` reads it
- torchvision CIFAR10, DataLoader: all images in one array in memory, as that class keeps them; a worker per core
- Hugging Face datasets, DataLoader: PNG in Arrow files, mapped into memory; a worker per core
- WebDataset: PNG in tar files; a worker per core
- arrays in memory, NumPy: all images in one array; a batch is chosen, then cropped and mirrored image by image
- arrays in memory, PyTorch: the same; all crops of a batch by one index, as loaders on a GPU do it
- a copy alone: copies as many crops in memory, on all cores, and does nothing else

Prints images per second, and microseconds of processor time for an image (in this process: those of DataLoader's
workers are not counted). FFCV is not measured: it has to be compiled against OpenCV.
"""

import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from alexnet.bench import limits
from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store
from alexnet.model.cpu import kernels
from alexnet.native.processor import cores
from benchmarks.comparison import OURS, Contender, Section, add_results, compare, options
from benchmarks.loading.pytorch_loaders import crop_and_mirror, webdataset_batches
from benchmarks.loading.throughput import exhausting

BATCH = 128
REFERENCE = "a copy alone"


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=int, help="how many of the training images; without it, all")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Store(arguments.store), arguments.images, arguments.rounds, arguments.out, Path(folder))


def measure(store: Store, most: int | None, rounds: int, out: Path | None, folder: Path) -> None:
    """Measure all loaders with the first `most` images of `store`; `folder` is for the files of the others."""
    kernels.reuse_memory()  # as `alexnet train` does
    split, crop = store.split("train"), store.size * 7 // 8
    read = min(len(split), most or len(split))
    count = read // BATCH * BATCH
    draws = augment.draw_epoch(AugmentConfig(), read, store.size, crop, seed=0, epoch=0)
    every = augment.draw_epoch(AugmentConfig(), len(split), store.size, crop, seed=0, epoch=0)
    images, labels = np.stack([split.image(index) for index in range(read)]), split.labels[:read]
    contenders: dict[str, Contender] = {
        REFERENCE: limits.gathering(count, crop, BATCH),
        OURS: (exhausting(lambda: islice(loader.training_batches(split, every, BATCH, crop), count // BATCH)), count),
        "arrays in memory, NumPy": (exhausting(lambda: numpy_batches(images, labels, draws, crop)), count),
        "arrays in memory, PyTorch": (exhausting(lambda: torch_batches(images, labels, draws, crop)), count),
    }
    missing = {"FFCV": "it has to be compiled against OpenCV, which is not installed"}
    others: dict[str, Callable[[], Callable[[], Iterable[object]]]] = {
        "torchvision CIFAR10, DataLoader": lambda: torchvision_batches(images, labels, crop),
        "Hugging Face datasets, DataLoader": lambda: datasets_batches(images, labels, crop, folder),
        "WebDataset": lambda: webdataset_batches(tar_files(images, labels, folder), BATCH, crop, "png"),
    }
    for name, made in others.items():
        try:
            contenders[name] = (exhausting(made()), count)
        except ImportError as reason:
            missing[name] = str(reason)
    title = f"{count} images of {store.size} pixels"
    rates = compare(title, contenders, rounds, REFERENCE)
    for name, (work, units) in contenders.items():
        began = time.process_time()
        work()
        rates[name]["processor_microseconds"] = 1e6 * (time.process_time() - began) / units
        print(f"  {name:44} {rates[name]['processor_microseconds']:9.1f} us of processor time in this process")
    packages = ["torch", "torchvision", "numpy", "datasets", "webdataset", "pillow"]
    name = f"small images, {store.size} pixels"
    add_results(out, Section(name, rounds, {title: rates}, packages, REFERENCE, missing=missing))


def numpy_batches(images: np.ndarray, labels: np.ndarray, draws: augment.Draws, crop: int) -> Iterator[object]:
    for first in range(0, len(images) // BATCH * BATCH, BATCH):
        chosen = slice(first, first + BATCH)
        index, out = draws.order[chosen], np.empty((BATCH, crop, crop, 3), np.uint8)
        for to, image, (top, left), mirrored in zip(
            out, images[index], draws.offsets[chosen], draws.mirrored[chosen], strict=True
        ):
            part = image[top : top + crop, left : left + crop]
            to[...] = part[:, ::-1] if mirrored else part
        yield out, labels[index]


def torch_batches(images: np.ndarray, labels: np.ndarray, draws: augment.Draws, crop: int) -> Iterator[object]:
    every, target = torch.from_numpy(images), torch.from_numpy(labels.copy())
    order, offsets = torch.from_numpy(draws.order), torch.from_numpy(draws.offsets)
    mirrored, steps = torch.from_numpy(draws.mirrored), torch.arange(crop)
    for first in range(0, len(images) // BATCH * BATCH, BATCH):
        chosen = slice(first, first + BATCH)
        rows = offsets[chosen, 0, None] + steps  # [B, crop]
        columns = offsets[chosen, 1, None] + torch.where(mirrored[chosen, None], crop - 1 - steps, steps)
        index = order[chosen]
        yield every[index[:, None, None], rows[:, :, None], columns[:, None]], target[index]


def torchvision_batches(images: np.ndarray, labels: np.ndarray, crop: int) -> Callable[[], Iterable[object]]:
    """As torchvision's class gives them. Raises ImportError without torchvision."""
    from torchvision.datasets import CIFAR10

    dataset = CIFAR10.__new__(CIFAR10)  # with these images instead of downloaded ones
    dataset.data, dataset.targets = images, labels.tolist()
    dataset.transform, dataset.target_transform = crop_and_mirror(crop), None
    return lambda: DataLoader(dataset, BATCH, shuffle=True, num_workers=cores(), drop_last=True)


def datasets_batches(images: np.ndarray, labels: np.ndarray, crop: int, folder: Path) -> Callable[[], Iterable[object]]:
    """As Hugging Face keeps images: PNG in Arrow files. Raises ImportError without `datasets`."""
    from datasets import Dataset, Features, Value, load_from_disk
    from datasets import Image as Encoded

    features = Features({"image": Encoded(), "label": Value("int64")})
    rows = {"image": [{"bytes": png(image), "path": None} for image in images], "label": labels.tolist()}
    Dataset.from_dict(rows, features).save_to_disk(folder / "datasets")
    transform = crop_and_mirror(crop)

    def transformed(batch: dict[str, list]) -> dict[str, list]:
        return {"image": [transform(image) for image in batch["image"]], "label": batch["label"]}

    dataset = load_from_disk(folder / "datasets").with_transform(transformed)
    return lambda: DataLoader(dataset, BATCH, shuffle=True, num_workers=cores(), drop_last=True)  # type: ignore[arg-type]


def tar_files(images: np.ndarray, labels: np.ndarray, folder: Path, shards: int = 8) -> Path:
    """Tar files of PNG for WebDataset, below `folder`; returns where they are."""
    place = folder / "tar"
    place.mkdir()
    for shard in range(shards):
        with tarfile.open(place / f"{shard}.tar", "w") as tar:
            for index in range(shard, len(images), shards):
                for ending, content in (("png", png(images[index])), ("cls", str(labels[index]).encode())):
                    entry = tarfile.TarInfo(f"{index:06}.{ending}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    return place


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    torch.multiprocessing.set_start_method("fork")
    main()
