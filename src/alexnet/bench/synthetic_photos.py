"""Synthetic images to measure on where none are given, as large and as detailed as photographs."""

from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from alexnet.demo.synthetic import CLASSES, draw

HEIGHT, WIDTH = 375, 500
"""As most of ImageNet's images."""
GRAIN = 6.0
"""Standard deviation of the noise that a camera adds, in grey levels."""


def draw_photos(folder: Path, count: int, seed: int = 0) -> None:
    """Write `count` synthetic images, enlarged and with grain, as JPEG files in class folders under `folder`/train."""
    random = np.random.default_rng(seed)
    for number in range(count):
        label = number % len(CLASSES)
        drawn = Image.fromarray(draw(label, "train", number, seed)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = random.normal(0, GRAIN, (HEIGHT, WIDTH, 3))
        pixels = np.clip(np.asarray(drawn) + grain, 0, 255).astype(np.uint8)
        file = folder / "train" / CLASSES[label] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420"))
