"""Rescaling photographs to 256x256 JPEG files: this package, scripts with Pillow and OpenCV, and img2dataset.

    python -m benchmarks.preparing.throughput photographs --img2dataset venv/bin/python --out results.json

`photographs` is a folder of JPEG files, which are repeated until there are 1,000. All use as many processes as there
are cores, rescale to a shorter side of 256, crop the central square, and write JPEG of quality 95 with 4:2:0 chroma.

- alexnet: `alexnet prepare`, which also sums for the mean image and the colour covariance and writes checksums
- Pillow script, OpenCV script: `scripts.py`
- img2dataset: in a process and a virtual environment of its own (`worker_img2dataset.py`)
- libjpeg-turbo alone: decodes and encodes on all cores, and does nothing between

Prints images per second (the median, and the slowest and fastest round), the PSNR of the rescaled pixels against
Pillow's, and the errors of images that are scaled down while they are decoded. A library that is not installed is
listed with the reason.
"""

import contextlib
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from PIL import Image

from alexnet.bench import limits
from alexnet.data.prepare.prepare import prepare
from alexnet.native.processor import cores
from benchmarks.comparison import OURS, Contender, Section, add_results, compare, options
from benchmarks.preparing.psnr import compare_pixels, errors_of_scaling
from benchmarks.preparing.scripts import QUALITY, SIZE, prepare_with_opencv, prepare_with_pillow
from benchmarks.separate_process import SeparateProcess, UnavailableError

REFERENCE = "libjpeg-turbo alone"


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--images", type=int, default=1000, help="images in each round, at least")
    parser.add_argument("--img2dataset", default=sys.executable, help="Python of a virtual environment that has it")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.photographs.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = [path for path in paths if readable_by_all(path)]
    missing, versions = {}, {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        source, out = Path(name, "source"), Path(name, "out")
        copies = copy_files(files, max(arguments.images, len(files)), source)
        count = float(len(copies))

        def ours() -> None:
            shutil.rmtree(out, ignore_errors=True)
            prepare(source, out, size=SIZE)

        contenders: dict[str, Contender] = {
            REFERENCE: limits.recoding([file.read_bytes() for file in copies], SIZE, QUALITY),
            OURS: (ours, count),
            "Pillow script": (in_processes(prepare_with_pillow, copies, out), count),
        }
        try:
            import cv2  # noqa: F401

            contenders["OpenCV script"] = (in_processes(prepare_with_opencv, copies, out), count)
        except ImportError as reason:
            missing["OpenCV script"] = str(reason)
        try:
            module = "benchmarks.preparing.worker_img2dataset"
            worker = stack.enter_context(SeparateProcess(module, source, SIZE, python=arguments.img2dataset))
            worker.run()  # shows what it cannot do
            contenders["img2dataset"] = (worker.run, count * worker.description["times"])
            versions["img2dataset"] = worker.description["version"]
        except UnavailableError as reason:
            missing["img2dataset"] = str(reason)
        for library, reason in missing.items():
            print(f"{library}: {reason}", flush=True)
        title = f"{len(copies)} images"
        results: dict[str, Any] = {title: compare(f"preparing {title}", contenders, arguments.rounds, REFERENCE)}
    results["psnr"] = compare_pixels(files, missing)
    for size in (256, 128):
        errors = results[f"scaled to {size}"] = errors_of_scaling(files, size)
        found = f"error {errors['mean']:.2f}, at most {errors['largest']:.2f} grey levels"
        print(f"  {errors['images']} images scaled down to {size} while decoded: {found}")
    packages = ["pillow", "opencv-python-headless", "simplejpeg"]
    section = Section("preparing", arguments.rounds, results, packages, REFERENCE, versions, missing)
    add_results(arguments.out, section)


def readable_by_all(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode in ("RGB", "L")


def copy_files(files: list[Path], count: int, source: Path) -> list[Path]:
    """Copy `files` again and again, until there are `count`, into two class folders."""
    copies = []
    for number, file in enumerate(islice(cycle(files), count)):
        copies.append(source / "train" / f"class-{number % 2}" / f"{number:05}.jpg")
        copies[-1].parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copies[-1])
    return copies


def in_processes(convert: Callable[..., None], files: list[Path], out: Path) -> Callable[[], None]:
    """Work that converts all `files` into the folder `out`, in a process per core."""

    def work() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        with get_context("fork").Pool(cores()) as pool:
            pool.map(functools.partial(convert, out=out), files, chunksize=16)

    return work


if __name__ == "__main__":
    main()
