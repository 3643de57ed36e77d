"""Bytes of any image to the fixed square the network is fed with, and back to bytes.

Section 2 of the paper: "Given a rectangular image, we first rescaled the image such that the shorter side was
of length 256, and then cropped out the central 256x256 patch from the resulting image." Grey and CMYK become
RGB. EXIF orientation is ignored, as it was then, unless asked for.

What a file is, is judged by its content. JPEG goes through libjpeg-turbo directly (`simplejpeg`), every other
format, and whatever libjpeg-turbo finds odd about a JPEG, through Pillow, which repairs what can be repaired
and refuses a truncated file. An image that ends early is an error and never an image with a grey bottom.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError, WebPImagePlugin

from alexnet.data.image import pixels
from alexnet.data.image.pixels import Bytes

Image.preinit()
assert WebPImagePlugin  # this format is known once its plugin is imported, the other four once preinit has run

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""No others: Pillow knows dozens, and starts other programs for some."""

MOST_MEMORY: Final = 1 << 30
"""Bytes that decoding an image may take."""

BYTES_A_PIXEL: Final = {"WEBP": 16, "JPEG": 12}
"""What decoding takes, by format, measured at its worst (docs/reliability.md): CMYK in several passes for JPEG. Others
take `OTHER_BYTES_A_PIXEL` at most, and JPEG without Pillow one more."""

OTHER_BYTES_A_PIXEL: Final = 8

BAND: Final = 1 << 20
"""Pixels that are converted at a time."""

JPEG_FROM: Final = 128
"""Size from which images are stored as JPEG; below, its 8x8 blocks are too large a part of the image."""

JPEG_START: Final = b"\xff\xd8\xff"
"""The first bytes of every JPEG file."""

_ORIENTATION_TAG: Final = 0x0112
_NEEDS_TRANSPOSE: Final = (5, 6, 7, 8)
_NEEDS_MIRROR: Final = (2, 3, 6, 7)  # after the transposition: left and right change places
_NEEDS_FLIP: Final = (3, 4, 7, 8)  # after the transposition: top and bottom change places


def decode(data: Bytes, shorter_side: int | None = None, honour_exif: bool = False) -> np.ndarray:
    """The image in `data` as uint8 [height, width, 3], RGB. An animation gives its first frame; transparent
    pixels show white.

    With `shorter_side`, a JPEG that is at least twice as large may come halved (or quartered, and so on), where that
    is faster and loses nothing one would see once it is rescaled to this size: it still is at least as large.

    Raises ValueError, with the reason as its text, for what is no whole image.
    """
    view = memoryview(data)
    if view.nbytes == 0:
        raise ValueError("the file is empty")
    image = _decode_jpeg(view, shorter_side) if bytes(view[:3]) == JPEG_START else None
    if image is None:
        image = _decode_with_pillow(view)
    return _upright(image, _orientation(view)) if honour_exif else image


def rescale(image: np.ndarray, size: int) -> np.ndarray:
    """`image`, uint8 [height, width, 3], with its shorter side made `size` (bicubic, antialiased) and its
    central square cut out: uint8 [size, size, 3]. Only that square is computed; what it samples outside
    itself is the image, so the result is the centre of the whole rescaled image."""
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return pixels.resize(image, (left, top, left + side, top + side), size)


def encode(image: np.ndarray, quality: int = 95) -> bytes:
    """`image`, uint8 [size, size, 3], as the store keeps it: JPEG with 4:2:0 colour from 128 pixels up, PNG
    (lossless) below."""
    if min(image.shape[:2]) >= JPEG_FROM:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorsubsampling="420")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def decode_stored(data: Bytes) -> np.ndarray:
    """What `encode` made, as uint8 [size, size, 3]. Raises ValueError with the reason. Releases the
    interpreter lock while it decodes a JPEG."""
    if bytes(memoryview(data)[:3]) == JPEG_START:
        return simplejpeg.decode_jpeg(data)
    return _decode_with_pillow(memoryview(data))


def _decode_jpeg(data: memoryview, shorter_side: int | None) -> np.ndarray | None:
    """None where Pillow should try: CMYK, and whatever libjpeg-turbo warns of or refuses."""
    try:
        height, width, colours, sampling = cast(tuple[int, int, str, str], simplejpeg.decode_jpeg_header(data))
    except (ValueError, KeyError):  # KeyError: a subsampling of colours that it has no name for
        return None
    _check_size(width, height, OTHER_BYTES_A_PIXEL + 1)
    if colours not in ("YCbCr", "Gray", "RGB"):
        return None
    # Halving or quartering inside the inverse DCT costs less than decoding every pixel.
    least, factor = 0, 1
    if shorter_side is not None and min(height, width) >= 2 * shorter_side:
        least, factor = shorter_side, 2
    elif (colours, sampling) in (("YCbCr", "444"), ("YCbCr", "420")):
        image = np.empty((height, width, 3), np.uint8)
        if pixels.decode([data], (height, width), pixels.WHOLE, image[np.newaxis]).all():
            return image
    try:
        return simplejpeg.decode_jpeg(data, min_height=least, min_width=least, min_factor=factor)
    except ValueError:
        return None


def _webp_size(data: memoryview) -> tuple[int, int]:
    """Width and height as a WebP file claims them; (0, 0) for anything else. Pillow would take memory for them before
    it tells. Format: https://developers.google.com/speed/webp/docs/riff_container."""

    def number(first: int, last: int) -> int:
        return int.from_bytes(data[first:last], "little")

    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return 0, 0
    match bytes(data[12:16]):
        case b"VP8X":
            return 1 + number(24, 27), 1 + number(27, 30)
        case b"VP8L":
            return 1 + (number(21, 25) & 0x3FFF), 1 + (number(21, 25) >> 14 & 0x3FFF)
        case _:
            return number(26, 28) & 0x3FFF, number(28, 30) & 0x3FFF


def _decode_with_pillow(data: memoryview) -> np.ndarray:
    _check_size(*_webp_size(data), BYTES_A_PIXEL["WEBP"])
    with _without_warnings():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(*image.size, BYTES_A_PIXEL.get(image.format or "", OTHER_BYTES_A_PIXEL))
                return _rgb(image)
        except UnidentifiedImageError:
            raise ValueError("it is no JPEG, PNG, WebP, GIF or BMP image") from None
        except _TooLargeError:
            raise
        except Exception as error:  # a damaged file raises nearly anything
            raise ValueError(f"it cannot be decoded: {error}") from None


class _TooLargeError(ValueError):
    """An image that nothing is wrong with but its size."""


def _check_size(width: int, height: int, bytes_a_pixel: int) -> None:
    most = MOST_MEMORY // bytes_a_pixel
    if width * height > most:
        raise _TooLargeError(f"it claims {width}x{height} pixels, more than the {most:,} that are decoded")


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 [height, width, 3]. A large image goes by bands of rows, so that there is no second copy of it."""
    if image.width * image.height <= BAND:
        return _rgb_of_band(image)
    image.load()
    out = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        out[top:bottom] = _rgb_of_band(image.crop((0, top, image.width, bottom)))
    return out


def _rgb_of_band(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits a sample, which convert() would clip at 255
        grey = np.asarray(image).astype(np.float64) / 257
        eight = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        return np.repeat(eight[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    return np.asarray(image.convert("RGB"))


class _Quiet:
    def __init__(self) -> None:
        self.lock, self.threads = threading.Lock(), 0
        self.filters = warnings.catch_warnings()


_quiet = _Quiet()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of strange metadata, which is not looked at here. Filters belong to the whole process: the first
    thread to come sets them, the last to leave puts back what was there."""
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


def _orientation(data: memoryview) -> object:
    """The EXIF orientation, 2 to 8; anything else means upright."""
    with _without_warnings():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.getexif().get(_ORIENTATION_TAG)
        except Exception:  # some versions of Pillow raise nearly anything for broken EXIF
            return None


def _upright(image: np.ndarray, orientation: object) -> np.ndarray:
    if orientation in _NEEDS_TRANSPOSE:
        image = image.transpose(1, 0, 2)
    if orientation in _NEEDS_MIRROR:
        image = image[:, ::-1]
    if orientation in _NEEDS_FLIP:
        image = image[::-1]
    return np.ascontiguousarray(image)
