"""How near the rescaled pixels are to those of Pillow."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.data.image.decode import decode, decode_scaled
from alexnet.data.image.square import square
from benchmarks.comparison import OURS
from benchmarks.preparing.scripts import SIZE, opencv_square

IDENTICAL = 99.0  # decibels that stand for equal pixels, whose PSNR is infinite


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels, of uint8 pixels."""
    error = float(np.mean((a.astype(float) - b) ** 2))
    return IDENTICAL if error == 0 else min(IDENTICAL, 10 * math.log10(255**2 / error))


def reference_square(path: Path, size: int = SIZE) -> np.ndarray:
    """Pillow's BICUBIC result on the central square of the image decoded at full size: uint8 [size, size, 3]."""
    with Image.open(path) as image:
        side = min(image.size)
        left, top = ((length - side) / 2 for length in image.size)
        box = (left, top, left + side, top + side)
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box))


RESCALERS: dict[str, Callable[[Path], np.ndarray]] = {
    OURS: lambda path: square(path, SIZE),
    "OpenCV script": lambda path: opencv_square(path)[:, :, ::-1],
}


def errors_of_scaling(files: list[Path], size: int) -> dict[str, float]:
    """Of the images that are scaled down while they are decoded: how many there are, and the mean and the largest of
    their mean absolute errors, in grey levels, against Pillow's result."""
    errors = []
    for path in files:
        data = path.read_bytes()
        if decode_scaled(data, size).pixels.shape != decode(data).shape:
            errors.append(float(np.abs(square(data, size) - reference_square(path, size).astype(int)).mean()))
    return {"images": len(errors), "mean": float(np.mean(errors or [0.0])), "largest": max(errors, default=0.0)}


def compare_pixels(files: list[Path], missing: dict[str, str]) -> dict[str, dict[str, float]]:
    """PSNR before encoding, over all `files`: the median and the least. `missing` receives what is not installed."""
    results = {}
    for name, rescaled in RESCALERS.items():
        try:
            found = [psnr(rescaled(path), reference_square(path)) for path in files]
        except ImportError as reason:
            missing[name] = str(reason)
            continue
        results[name] = {"median": float(np.median(found)), "least": min(found)}
        print(f"  PSNR {name:20} median {results[name]['median']:.1f} dB, least {results[name]['least']:.1f} dB")
    return results
