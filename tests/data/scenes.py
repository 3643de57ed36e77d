"""Images that the tests share, and the files of them."""

import io

import numpy as np
from PIL import Image


def scene(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """A smooth coloured image with no symmetry."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def saved(image: Image.Image | np.ndarray, file_format: str, **options: object) -> bytes:
    """The file that Pillow writes of `image`, with its `options` for that format."""
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    opened.save(file, file_format, **options)
    return file.getvalue()
