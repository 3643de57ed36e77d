"""Decodes the bytes of an image file to RGB pixels.

A file's content decides its format; its name does not matter. JPEG, PNG, WebP, GIF, BMP, TIFF and, where Pillow has it,
AVIF are read. Three decoders share the work:

1. `jpeg.h`, this package's own: baseline JPEG with 4:2:0 or 4:4:4 chroma, at full size.
2. libjpeg-turbo (`simplejpeg`): every other JPEG, and JPEG scaled down while it is decoded.
3. Pillow: all other formats, CMYK, and any JPEG that libjpeg-turbo warns about. It repairs what can be repaired.

A truncated file is an error, never an image with a grey bottom. Grey and CMYK become RGB. Metadata never decides about
pixels: a colour profile, gamma or text is not even read. The EXIF orientation is ignored, as it was in 2012, unless the
caller asks for it.
"""

from math import ceil
from typing import Final, NamedTuple, cast

import numpy as np
import simplejpeg

from alexnet.data.image import exif, jpeg_header, pixels
from alexnet.data.image.bounds import check_size
from alexnet.data.image.jpeg_header import is_jpeg
from alexnet.data.image.pillow import DEFAULT_BYTES_PER_PIXEL, decode_with_pillow
from alexnet.data.image.pixels import Box, BytesLike

REDUCING_GAP: Final = 2.0
"""How many times the wanted size a JPEG still has after it was scaled down while it was decoded, at least. The name is
that of Pillow's `resize`."""

_FASTER_SCALES: Final = (1, 2, 4)
"""In eighths. libjpeg-turbo has vector code for these and for full size; all others take longer than full size."""


class Decoded(NamedTuple):
    """An image that may have been scaled down while it was decoded."""

    pixels: np.ndarray
    """uint8 [rows, columns, 3]."""
    extent: Box
    """The exact extent of the image in `pixels`, whose outermost row or column may only be partly in it."""


def decode(data: BytesLike, honour_exif: bool = False) -> np.ndarray:
    """The image in `data` as uint8 [height, width, 3], RGB: the first frame of an animation, transparent pixels on
    white.

    Raises ValueError, with the reason as its text, unless `data` holds a whole image of acceptable size.
    """
    return decode_scaled(data, None, honour_exif).pixels


def decode_scaled(data: BytesLike, size: int | None, honour_exif: bool = False) -> Decoded:
    """`decode` of an image whose shorter side will be rescaled to `size`: a JPEG that is large enough is scaled to a
    half, a quarter or an eighth while it is decoded, which is faster and hardly changes the result.

    Raises ValueError as `decode` does.
    """
    view = memoryview(data)
    view = (view if view.c_contiguous else memoryview(bytes(view))).cast("B")
    if view.nbytes == 0:
        raise ValueError("the file is empty")
    decoded = _decode_jpeg(view, size) if is_jpeg(view) else None
    if decoded is None:
        decoded = whole(decode_with_pillow(view))
    if honour_exif:
        orientation = exif.orientation(view)
        extent = exif.upright_box(decoded.extent, decoded.pixels.shape[:2], orientation)
        decoded = Decoded(exif.upright(decoded.pixels, orientation), extent)
    return decoded


def whole(image: np.ndarray) -> Decoded:
    """An image that was not scaled down, uint8 [height, width, 3]."""
    return Decoded(image, (0, 0, image.shape[1], image.shape[0]))


def _decode_jpeg(data: memoryview, size: int | None) -> Decoded | None:
    """None where Pillow should try: CMYK, and all that libjpeg-turbo refuses or warns of."""
    frame = jpeg_header.read_frame(data)
    if frame is None:
        return None
    check_size(frame.width, frame.height, DEFAULT_BYTES_PER_PIXEL + 1)
    jpeg_header.check_scans(data, frame)
    try:
        height, width, colours, sampling = cast(tuple[int, int, str, str], simplejpeg.decode_jpeg_header(data))
    except (ValueError, KeyError):  # KeyError: chroma subsampling that simplejpeg has no name for
        return None
    if (height, width) != (frame.height, frame.width) or colours not in ("YCbCr", "Gray", "RGB"):
        return None
    eighths = scale(frame, size)
    if eighths == 8 and (colours, sampling) in (("YCbCr", "444"), ("YCbCr", "420")):
        image = np.empty((height, width, 3), np.uint8)
        if pixels.decode_crops([data], (height, width), pixels.WHOLE, image[np.newaxis]).all():
            return whole(image)
    try:
        image = decode_at_scale(data, frame, eighths)
    except ValueError:
        return None
    return Decoded(image, (0, 0, width * eighths / 8, height * eighths / 8))


def decode_at_scale(data: BytesLike, frame: jpeg_header.Frame, eighths: int) -> np.ndarray:
    """The JPEG `data`, whose header is `frame`, by libjpeg-turbo, at what `scale` gave: uint8 [rows, columns, 3].

    Raises ValueError, with the reason as its text, for all but a whole image.
    """
    # An inverse DCT of fewer points is cheaper than decoding all pixels and averaging them.
    rows, columns = (ceil(side * eighths / 8) if eighths < 8 else 0 for side in (frame.height, frame.width))
    return simplejpeg.decode_jpeg(data, min_height=rows, min_width=columns)  # 0: full size


def scale(frame: jpeg_header.Frame, size: int | None) -> int:
    """At which scale to decode an image whose shorter side will be `size`, in eighths."""
    shorter = min(frame.height, frame.width)
    if size is None or not frame.can_be_scaled or shorter < 8:  # of fewer than 8 pixels, scales are not distinct
        return 8
    return next((each for each in _FASTER_SCALES if shorter * each / 8 >= REDUCING_GAP * size), 8)
