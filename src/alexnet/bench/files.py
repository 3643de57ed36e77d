"""`alexnet bench load` and `prepare`, beside libjpeg-turbo or a copy alone on the same images."""

import shutil
import tempfile
from itertools import cycle, islice
from pathlib import Path

import torch

from alexnet.bench import limits
from alexnet.bench.measure import alternate, forget_peak, machine, peak_memory
from alexnet.bench.synthetic_photos import draw_photos
from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.image.decode import is_jpeg
from alexnet.data.prepare import prepare as preparing
from alexnet.data.store.reader import Store
from alexnet.model.cpu import kernels
from alexnet.study.outputs import warn

DRAWN = 256
"""Different images that are drawn where none are given."""
PREPARED = 1024
"""Images per round of prepare, at least: fewer would measure how long processes take to start."""
BATCH = 128
"""Images per batch of load, where neither user nor store says otherwise."""
MOST = 2048
"""Images per round that are taken of what is given, at most; of a store of small images as many as make `BYTES`."""
BYTES = 1 << 26
CPU = torch.device("cpu")


def load(store: Path | None = None, batch: int | None = None, rounds: int = 5, crop: int | None = None) -> dict:
    """Measure batches as training gets them (decoded, cropped, mirrored) from `store`, or from synthetic images.

    `batch` None is 128, or all images where there are fewer. Crops have `crop` pixels, or 7/8 of the images', as 224 of
    256. The result is described at `alexnet.bench.bench.bench`. Raises ValueError for a store with fewer images than
    one batch, or smaller ones than the crop.
    """
    with _folder() as name:
        folder = Path(name)
        if store is None:
            draw_photos(folder / "images", DRAWN)
            preparing.prepare(folder / "images", folder / "store")
        opened = Store(store or folder / "store")
        split = opened.split("train")
        most = MOST if split.is_compressed else max(MOST, BYTES // (3 * opened.size**2))
        images = min(most, len(split))
        batch, crop = batch or min(BATCH, images), crop or max(1, opened.size * 7 // 8)
        if images < batch:
            raise ValueError(
                f"{opened.path} cannot be measured with batches of {batch}: {images} of its images are read; use "
                "a smaller --batch-size."
            )
        if crop > opened.size:
            raise ValueError(
                f"{opened.path} has no crops of {crop} pixels, only of up to {opened.size}; use a smaller --input-size."
            )
        draws = augment.draw_epoch(AugmentConfig(), len(split), opened.size, crop, seed=0, epoch=0)
        count = images // batch * batch

        def epoch() -> None:
            for _ in islice(loader.training_batches(split, draws, batch, crop), count // batch):
                pass

        kernels.reuse_memory()  # as training does
        forget_peak(CPU)
        epoch()
        peak = peak_memory(CPU)
        chosen = [split.encoded(int(index)) for index in draws.order[:count]]
        if split.is_compressed:
            limit, what = limits.decoding(chosen, opened.size), "libjpeg-turbo alone, all cores, the same stored images"
        else:
            limit, what = limits.gathering(count, crop, batch), "a copy of as many crops, in any order, in memory"
        rates = alternate({"limit": limit, "ours": (epoch, count)}, rounds)
        source = str(store) if store else f"{DRAWN} synthetic images"
        return {
            "what": "load",
            "source": source,
            "input_size": crop,
            **rates["ours"].beside(rates["limit"], what),
            "dtype": "uint8",
            "batch": batch,
            "size": opened.size,
            "crop": crop,
            "rounds": rounds,
            "bytes_per_image": sum(map(len, chosen)) / len(chosen),
            "peak_memory_bytes": peak,
            "machine": machine(CPU),
        }


def prepare(source: Path | None = None, rounds: int = 3, size: int = 256) -> dict:
    """Measure `alexnet prepare` on the JPEG files in and below `source`, or on synthetic images; if there are few, on
    several copies of each.

    The result is described at `alexnet.bench.bench.bench`. Raises ValueError when there are no JPEG files.
    """
    with _folder() as name:
        folder = Path(name)
        if source is None:
            source = folder / "images"
            draw_photos(source, DRAWN)
            label = f"{DRAWN} synthetic images"
        else:
            label = str(source)
        paths = islice((path for path in sorted(source.rglob("*")) if path.is_file()), MOST)
        encoded = [data for path in paths if is_jpeg(data := path.read_bytes()) and _can_be_recoded(path, data, size)]
        if not encoded:
            raise ValueError(f"{source} has no JPEG files to measure with.")
        count = max(PREPARED, len(encoded))
        many = list(islice(cycle(encoded), count))
        for number, data in enumerate(many):
            file = folder / "copies" / "train" / f"class-{number % 2}" / f"{number:06}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

        def work() -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            preparing.prepare(folder / "copies", folder / "store", size=size, max_bad=1.0)

        forget_peak(CPU)
        rates = alternate({"limit": limits.recoding(many, size, 95), "ours": (work, count)}, rounds)
        return {
            "what": "prepare",
            "source": label,
            **rates["ours"].beside(rates["limit"], "libjpeg-turbo decoding and encoding alone, all cores"),
            "dtype": "uint8",
            "batch": count,
            "rounds": rounds,
            "bytes_per_image": sum(map(len, encoded)) / len(encoded),
            "peak_memory_bytes": peak_memory(CPU),
            "machine": machine(CPU),
        }


def _can_be_recoded(path: Path, data: bytes, size: int) -> bool:
    """Whether the limit can be measured with this file; where it cannot, a line says so."""
    try:
        limits.recoding([data], size, 95)[0]()
    except ValueError as error:
        warn(f"left out: {path} cannot be decoded: {error}")
        return False
    return True


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="alexnet-bench-")
