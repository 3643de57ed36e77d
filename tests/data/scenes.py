"""Images that the tests share, and the files of them."""

import io

import numpy as np
from PIL import Image


def scene(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """A smooth coloured image without symmetry, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random pixels, uint8 [height, width, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photograph(size: int, seed: int = 0) -> np.ndarray:
    """A smooth image with some noise, uint8 [size, size, 3]."""
    coarse = Image.fromarray(noise(max(2, size // 16), max(2, size // 16), seed))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + np.random.default_rng(seed).normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def saved(image: Image.Image | np.ndarray, file_format: str, **options: object) -> bytes:
    """The file that Pillow writes of `image`, with its `options` for that format."""
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    opened.save(file, file_format, **options)
    return file.getvalue()
