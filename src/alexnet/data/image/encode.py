"""Encodes prepared squares as a store keeps them, and decodes them again."""

import io
from typing import Final

import numpy as np
import simplejpeg
from PIL import Image

from alexnet.data.image.decode import decode_with_pillow, is_jpeg
from alexnet.data.image.pixels import BytesLike

JPEG_MIN_SIZE: Final = 128
"""Height and width, in pixels, from which images are stored as JPEG. Smaller ones are stored as PNG: JPEG's 8x8 blocks
would be too large a part of them."""


def encode(image: np.ndarray, quality: int = 95) -> bytes:
    """`image`, uint8 [size, size, 3], RGB, as the bytes that a store holds: JPEG with 4:2:0 chroma and `quality` (1 to
    100) from `JPEG_MIN_SIZE` pixels up, PNG (lossless) below."""
    if min(image.shape[:2]) >= JPEG_MIN_SIZE:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def decode_stored(data: BytesLike) -> np.ndarray:
    """The image that `encode` encoded, uint8 [size, size, 3]. Releases the interpreter lock while it decodes a JPEG.

    Raises ValueError, with the reason as its text, for damaged bytes.
    """
    return simplejpeg.decode_jpeg(data) if is_jpeg(data) else decode_with_pillow(memoryview(data))
