"""Rows of a store as it keeps small images (BMP), and a crop of each, decoded by the C++ and in Python."""

from pathlib import Path

import numpy as np

from alexnet.data.image import pixels
from alexnet.data.image.encode import decode_stored, encode
from campaigns.fuzz.format import Format

SIZE = 21


def examples() -> list[bytes]:
    return [encode(image) for image in np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)]


def read(data: bytes, folder: Path) -> None:
    crop = np.empty((1, SIZE, SIZE, 3), np.uint8)
    done = pixels.decode_crops([data], (SIZE, SIZE), pixels.WHOLE, crop).all()
    image = decode_stored(data, SIZE)
    assert image.shape == (SIZE, SIZE, 3) and (not done or np.array_equal(image, crop[0]))


FORMAT = Format("rows", 3, examples, read)
