"""Encodes prepared squares as a store keeps them, and decodes them again."""

import struct
from typing import Final

import numpy as np
import simplejpeg

from alexnet.data.image.formats import format_of
from alexnet.data.image.jpeg_header import check_scans, read_frame
from alexnet.data.image.pillow import decode_with_pillow
from alexnet.data.image.pixels import BytesLike, check_image

JPEG_MIN_SIZE: Final = 128
"""Height and width, in pixels, from which images are stored as JPEG. JPEG's 8x8 blocks would be too large a part of
smaller ones. These are stored as BMP, uncompressed: PNG would save a quarter of the bytes, and decoding it would take
hundreds of microseconds instead of a few."""

_BITMAP: Final = struct.Struct("<2sIII IIIHH IIIIII")
"""The header of a BMP file, fields of 54 bytes: bitmap.h names them."""


def encoding(size: int) -> str:
    """How images of `size` x `size` pixels are stored: "jpeg" or "bmp"."""
    return "jpeg" if size >= JPEG_MIN_SIZE else "bmp"


def encode(image: np.ndarray, quality: int = 95) -> bytes:
    """`image`, uint8 [size, size, 3], RGB, as the bytes that a store holds: JPEG with 4:2:0 chroma and `quality` (1 to
    100) from `JPEG_MIN_SIZE` pixels up, BMP of 24 bits (lossless) below.

    Raises ValueError for an image of another kind, and for another quality.
    """
    check_image(image)
    if not 1 <= quality <= 100:
        raise ValueError(f"the quality is {quality}: give 1 to 100")
    height, width = image.shape[:2]
    if encoding(min(height, width)) == "jpeg":
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    rows = np.zeros((height, _row_bytes(width)), np.uint8)
    rows[:, : 3 * width] = image[::-1, :, ::-1].reshape(height, 3 * width)
    return _bitmap_header(height, width) + rows.tobytes()


def _row_bytes(width: int) -> int:
    """Bytes of a row of a BMP: a multiple of four."""
    return -(-3 * width // 4) * 4


def _bitmap_header(height: int, width: int) -> bytes:
    start, length = _BITMAP.size, _row_bytes(width) * height
    return _BITMAP.pack(b"BM", start + length, 0, start, 40, width, height, 1, 24, 0, length, 0, 0, 0, 0)


def decode_stored(data: BytesLike, size: int) -> np.ndarray:
    """The image that `encode` encoded, uint8 [size, size, 3]. Releases the interpreter lock while it decodes a JPEG.

    Raises ValueError, with the reason as its text, for damaged bytes and, before anything is decoded, for all but a
    JPEG, PNG or BMP of this size.
    """
    view = memoryview(data).cast("B")
    image_format = format_of(view)
    if image_format == "JPEG":
        frame = read_frame(view)
        height, width = map(int, simplejpeg.decode_jpeg_header(view)[:2])
        if frame is not None:
            check_scans(view, frame)
    elif image_format == "PNG":
        width, height = struct.unpack(">II", view[16:24].tobytes().ljust(8, b"\0"))  # in IHDR, the first chunk
    elif image_format == "BMP":
        width, height = struct.unpack("<ii", view[18:26].tobytes().ljust(8, b"\0"))
    else:
        raise ValueError("it is neither JPEG nor PNG nor BMP")
    if (height, width) != (size, size):
        raise ValueError(f"it is {width}x{height} and not {size}x{size}")
    if image_format == "BMP":
        return _decode_bitmap(view, size)
    return simplejpeg.decode_jpeg(view) if image_format == "JPEG" else decode_with_pillow(view)


def _decode_bitmap(data: memoryview, size: int) -> np.ndarray:
    header, row = _bitmap_header(size, size), _row_bytes(size)
    if data[: len(header)] != header:
        raise ValueError("it is BMP of another kind than a store holds")
    if len(data) != len(header) + row * size:
        raise ValueError(f"it has {len(data)} bytes and not {len(header) + row * size}")
    rows = np.frombuffer(data, np.uint8, offset=len(header)).reshape(size, row)
    return np.ascontiguousarray(rows[::-1, : 3 * size].reshape(size, size, 3)[..., ::-1])
