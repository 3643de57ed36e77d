"""The EXIF orientation of an image: how it must be turned to be upright. Read from the bytes of the file, so that
however large or odd the other metadata is, it costs nothing. Format: CIPA DC-008 (EXIF), which is a TIFF file.
"""

import io
import struct
from typing import Final

import numpy as np
from PIL import Image

from alexnet.data.image import formats, jpeg_header, png, tiff
from alexnet.data.image.pixels import Box

UPRIGHT: Final = 1

_TRANSPOSED: Final = (5, 6, 7, 8)
_MIRRORED: Final = (2, 3, 6, 7)  # left to right, after the transposition
_FLIPPED: Final = (3, 4, 7, 8)  # top to bottom, after the transposition


def orientation(data: memoryview) -> int:
    """The EXIF orientation of a file, 1 to 8; 1 (upright) where it has none or an invalid one.

    A TIFF file has none: there the orientation is a part of the format, and Pillow turns the image.
    """
    if jpeg_header.is_jpeg(data):
        return _orientation_of_directory(jpeg_header.exif(data))
    if data[:8] == png.SIGNATURE:
        return _orientation_of_directory(png.exif(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _orientation_of_directory(_webp_exif(data))
    if formats.format_of(data) == "AVIF":  # in its container, outside of its EXIF data; cheap to open
        with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
            return orientation_of_pillow(image)
    return UPRIGHT


def _webp_exif(data: memoryview) -> memoryview:
    """The content of the EXIF chunk. https://developers.google.com/speed/webp/docs/riff_container"""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return data[:0]


def _orientation_of_directory(data: memoryview) -> int:
    """From TIFF's first directory, perhaps behind EXIF's signature."""
    if data[:6] == b"Exif\0\0":
        data = data[6:]
    found = next((entry for entry in tiff.directory(data) if entry.tag == tiff.ORIENTATION), None)
    return found.number if found is not None and found.count == 1 and 1 <= found.number <= 8 else UPRIGHT


def upright_box(box: Box, shape: tuple[int, ...], orientation: int) -> Box:
    """Where a part of an image of `shape` (height, width) is after `upright`."""
    (left, top, right, bottom), (height, width) = box, shape
    if orientation in _TRANSPOSED:
        left, top, right, bottom, height, width = top, left, bottom, right, width, height
    if orientation in _MIRRORED:
        left, right = width - right, width - left
    if orientation in _FLIPPED:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """`image`, uint8 [height, width, 3], turned as its EXIF orientation says."""
    if orientation in _TRANSPOSED:
        image = image.transpose(1, 0, 2)
    if orientation in _MIRRORED:
        image = image[:, ::-1]
    if orientation in _FLIPPED:
        image = image[::-1]
    return np.ascontiguousarray(image)


def orientation_of_pillow(image: Image.Image) -> int:
    """The EXIF orientation of a Pillow image, as `orientation`."""
    try:
        found = image.getexif().get(tiff.ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # some versions of Pillow raise nearly anything for broken EXIF
        return UPRIGHT
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT
