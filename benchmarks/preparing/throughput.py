"""Rescaling photographs to 256x256 JPEG files: ours beside img2dataset and scripts with Pillow and OpenCV; quality.

    python -m benchmarks.preparing.throughput photographs --img2dataset venv/bin/python --out results.json

`photographs` is a folder of JPEG files; each is taken as often as it takes to have 1,000. All use as many processes
as there are cores, cut out the central square of the image rescaled to a shorter side of 256, and write JPEG of
quality 95 with 4:2:0 colour. Pillow resizes with BICUBIC, which antialiases; OpenCV with INTER_AREA, the way of
img2dataset. Ours also sums for the mean image and the colour covariance and writes the store's checksums. The limit
is libjpeg-turbo decoding and encoding alone. PSNR is that of the rescaled pixels, before encoding, against Pillow's
BICUBIC result on the image decoded at full size. img2dataset runs in a process of its own, in a virtual environment
of its own (it wants older versions of OpenCV and WebDataset than others: `pip install img2dataset`); where it is not
there, the reason is listed. Needs `pip install -e .[bench]`.
"""

import contextlib
import functools
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from alexnet.bench import limits
from alexnet.data.image.decode import decode
from alexnet.data.image.resize import rescale
from alexnet.data.prepare.prepare import prepare
from alexnet.native.processor import cores
from benchmarks.comparison import Form, compare, keep, options
from benchmarks.separate_process import Elsewhere, Unavailable

SIZE, IMAGES = 256, 1000


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--img2dataset", default=sys.executable, help="Python of a virtual environment that has it")
    arguments = parser.parse_args()
    files = sorted(path for path in arguments.photographs.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    files = [path for path in files if Image.open(path).mode in ("RGB", "L")]  # what all can read
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "source"), Path(name, "out")
        copies = []
        for number, file in enumerate(islice(cycle(files), max(IMAGES, len(files)))):
            copies.append(source / "train" / f"class-{number % 2}" / f"{number:05}.jpg")
            copies[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copies[-1])

        def ours() -> None:
            shutil.rmtree(out, ignore_errors=True)
            prepare(source, out, size=SIZE)

        def script(convert: Callable[..., None]) -> Callable[[], None]:
            def work() -> None:
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                with get_context("fork").Pool(cores()) as pool:
                    pool.map(functools.partial(convert, out=out), copies, chunksize=16)

            return work

        count = len(copies)
        forms: dict[str, Form] = {
            "limit": limits.recoding([file.read_bytes() for file in copies], SIZE, 95),
            "ours": (ours, count),
            "Pillow script": (script(with_pillow), count),
            "OpenCV script": (script(with_opencv), count),
        }
        missing, versions = {}, {}
        with contextlib.ExitStack() as stack:
            try:
                script_ = "benchmarks.preparing.worker_img2dataset"
                other = stack.enter_context(Elsewhere(script_, source, SIZE, python=arguments.img2dataset))
                other.work()  # what it cannot do shows here
                forms["img2dataset"] = (other.work, count * other.said["times"])
                versions["img2dataset"] = other.said["version"]
            except Unavailable as reason:
                missing["img2dataset"] = str(reason)
                print(f"img2dataset: {reason}", flush=True)
            results: dict = {f"{count} images": compare(f"preparing {count} images", forms, arguments.rounds)}
    results["psnr"] = quality(files)
    packages = ["pillow", "opencv-python-headless", "simplejpeg"]
    keep(arguments.out, "preparing", arguments.rounds, results, packages, missing, versions)


def with_pillow(path: Path, out: Path) -> None:
    with Image.open(path) as image:
        pillow_square(image).save(out / path.name, quality=95, subsampling="4:2:0")


def pillow_square(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    side = min(image.size)
    width, height = (round(length * SIZE / side) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    return image.crop((left, top, left + SIZE, top + SIZE))


def with_opencv(path: Path, out: Path) -> None:
    parameters = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    cv2.imwrite(str(out / path.name), opencv_square(path), parameters)


def opencv_square(path: Path) -> np.ndarray:
    cv2.setNumThreads(1)
    image = cv2.imread(str(path))
    assert image is not None
    height, width = image.shape[:2]
    side = min(height, width)
    shape = round(width * SIZE / side), round(height * SIZE / side)
    image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    top, left = (shape[1] - SIZE) // 2, (shape[0] - SIZE) // 2
    return image[top : top + SIZE, left : left + SIZE]


def quality(files: list[Path]) -> dict[str, dict[str, float]]:
    """PSNR in decibels of each, over all images: median and least."""
    found: dict[str, list[float]] = {"ours": [], "OpenCV script": []}
    for path in files:
        with Image.open(path) as image:
            side = min(image.size)
            left, top = ((length - side) / 2 for length in image.size)
            box = (left, top, left + side, top + side)
            reference = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))
        ours = rescale(decode(path.read_bytes(), SIZE), SIZE)
        found["ours"].append(psnr(ours, reference))
        found["OpenCV script"].append(psnr(opencv_square(path)[:, :, ::-1], reference))
    result = {whose: {"median": float(np.median(all_)), "least": float(min(all_))} for whose, all_ in found.items()}
    for whose, values in result.items():
        print(f"  PSNR {whose:20} median {values['median']:.1f} dB, least {values['least']:.1f} dB")
    return result


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a.astype(float) - b) ** 2))
    return 99.0 if error == 0 else min(99.0, 10 * math.log10(255**2 / error))  # 99: the same


if __name__ == "__main__":
    main()
