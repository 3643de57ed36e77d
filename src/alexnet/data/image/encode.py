"""Encodes prepared squares as a store keeps them, and decodes them again."""

import io
import struct
from typing import Final

import numpy as np
import simplejpeg
from PIL import Image

from alexnet.data.image import png
from alexnet.data.image.jpeg_header import check_scans, is_jpeg, read_frame
from alexnet.data.image.pillow import decode_with_pillow
from alexnet.data.image.pixels import BytesLike, check_image

JPEG_MIN_SIZE: Final = 128
"""Height and width, in pixels, from which images are stored as JPEG. Smaller ones are stored as PNG: JPEG's 8x8 blocks
would be too large a part of them."""


def encode(image: np.ndarray, quality: int = 95) -> bytes:
    """`image`, uint8 [size, size, 3], RGB, as the bytes that a store holds: JPEG with 4:2:0 chroma and `quality` (1 to
    100) from `JPEG_MIN_SIZE` pixels up, PNG (lossless) below.

    Raises ValueError for an image of another kind, and for another quality.
    """
    check_image(image)
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality is {quality}: give 1 to 100")
    if min(image.shape[:2]) >= JPEG_MIN_SIZE:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def decode_stored(data: BytesLike, size: int) -> np.ndarray:
    """The image that `encode` encoded, uint8 [size, size, 3]. Releases the interpreter lock while it decodes a JPEG.

    Raises ValueError, with the reason as its text, for damaged bytes and, before anything is decoded, for all but a
    JPEG or PNG of this size.
    """
    view = memoryview(data).cast("B")
    if is_jpeg(view):
        frame = read_frame(view)
        height, width = map(int, simplejpeg.decode_jpeg_header(view)[:2])
        if frame is not None:
            check_scans(view, frame)
    elif view[: len(png.SIGNATURE)] == png.SIGNATURE:
        width, height = struct.unpack(">II", view[16:24].tobytes().ljust(8, b"\0"))  # in IHDR, the first chunk
    else:
        raise ValueError("it is neither JPEG nor PNG")
    if (height, width) != (size, size):
        raise ValueError(f"it is {width}x{height} and not {size}x{size}")
    return simplejpeg.decode_jpeg(view) if is_jpeg(view) else decode_with_pillow(view)
