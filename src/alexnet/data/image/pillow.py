"""Decodes a file by Pillow, within the bounds on size and memory, and says what is wrong with one that it refuses."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from alexnet.data.image import avif, formats, jpeg_header, png, tiff
from alexnet.data.image.bounds import TooLargeError, check_size
from alexnet.data.image.pixels import BytesLike
from alexnet.data.image.rgb import to_rgb

BYTES_PER_PIXEL: Final = {"WEBP": 16, "AVIF": 16, "JPEG": 12, "TIFF": 12}
"""Memory that decoding takes, by format, measured in the worst case (docs/reliability.md). For JPEG that is progressive
CMYK; `decode` knows what libjpeg-turbo takes."""

DEFAULT_BYTES_PER_PIXEL: Final = 8
"""The same for all other formats."""


def decode_with_pillow(data: memoryview) -> np.ndarray:
    """The image in `data`, uint8 [height, width, 3], as `decode` describes it. Raises ValueError as `decode` does."""
    with _opened(data) as image:
        return to_rgb(image)


def claimed_size(data: BytesLike) -> tuple[int, int]:
    """Width and height that the header of an image claims; nothing is decoded. Raises ValueError as `decode` does."""
    with _opened(memoryview(data).cast("B")) as image:
        return image.size


@contextmanager
def _opened(data: memoryview) -> Iterator[Image.Image]:
    """The image, opened by Pillow and of acceptable size. ValueError for what is raised here or within, but for a
    MemoryError."""
    image_format = formats.format_of(data)
    if image_format not in formats.FORMATS:
        raise ValueError(_why_unknown(image_format))
    if image_format == "JPEG" and (kind := jpeg_header.undecodable_kind(data)):
        raise ValueError(f"it is {kind}, which cannot be decoded here: save it as PNG")
    try:
        with _without_warnings(), _open(data, image_format) as image:
            check_size(*image.size, BYTES_PER_PIXEL.get(image_format, DEFAULT_BYTES_PER_PIXEL))
            yield image
    except UnidentifiedImageError:
        raise ValueError(f"it is damaged {formats.name(image_format)}: its header cannot be read") from None
    except (TooLargeError, MemoryError):  # for want of memory no file is to blame
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"it cannot be decoded: {reason}") from None


def _why_unknown(image_format: str | None) -> str:
    if image_format is None:
        return f"it is no {formats.known_formats()} image"
    return f"it is {formats.name(image_format)}, which cannot be decoded here: save it as PNG or JPEG"


def _open(data: memoryview, image_format: str) -> Image.Image:
    """Opens the file without the metadata that Pillow would read, after a look at what it costs to open it."""
    content: bytes | memoryview = data
    if image_format == "PNG":
        content = png.without_metadata(data)
    elif image_format == "JPEG":
        content = jpeg_header.without_metadata(data)
    elif image_format == "TIFF":
        tiff.check(data)
    elif image_format == "AVIF":
        _check_avif(data)
    elif image_format == "WEBP":
        check_size(*_webp_size(data), BYTES_PER_PIXEL["WEBP"])
    return Image.open(io.BytesIO(content), formats=[image_format])


def _check_avif(data: memoryview) -> None:
    """TooLargeError where an AV1 image in the file is too large, or none can say so before it is decoded."""
    try:
        found = avif.sizes(data)
    except avif.UnreadableError as error:
        raise TooLargeError(f"it is AVIF of a kind that is not decoded here ({error})") from None
    for size in found:
        check_size(*size, BYTES_PER_PIXEL["AVIF"])


def _webp_size(data: memoryview) -> tuple[int, int]:
    """Width and height that a WebP header claims. Pillow allocates memory for a WebP image before it tells its size.
    Format: https://developers.google.com/speed/webp/docs/riff_container."""

    def number(first: int, last: int) -> int:
        return int.from_bytes(data[first:last], "little")

    match bytes(data[12:16]):
        case b"VP8X":
            return 1 + number(24, 27), 1 + number(27, 30)
        case b"VP8L":
            return 1 + (number(21, 25) & 0x3FFF), 1 + (number(21, 25) >> 14 & 0x3FFF)
        case _:
            return number(26, 28) & 0x3FFF, number(28, 30) & 0x3FFF


class _Quiet:
    def __init__(self) -> None:
        self.lock, self.threads = threading.Lock(), 0
        self.filters = warnings.catch_warnings()


_quiet = _Quiet()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silences Pillow's warnings about odd metadata, which is not used here. Warning filters belong to the whole
    process: the first thread to enter sets them, the last to leave restores them."""
    with _quiet.lock:
        if _quiet.threads == 0:
            _quiet.filters = warnings.catch_warnings()
            _quiet.filters.__enter__()
            warnings.simplefilter("ignore")
        _quiet.threads += 1
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.threads -= 1
            if _quiet.threads == 0:
                _quiet.filters.__exit__(None, None, None)
