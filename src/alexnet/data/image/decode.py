"""Decodes the bytes of an image file to RGB pixels.

A file's content decides its format; its name does not matter. JPEG, PNG, WebP, GIF and BMP are read. Three decoders
share the work:

1. `jpeg.h`, this package's own: baseline JPEG with 4:2:0 or 4:4:4 chroma, at full size.
2. libjpeg-turbo (`simplejpeg`): every other JPEG, and JPEG scaled down while it is decoded.
3. Pillow: all other formats, CMYK, and any JPEG that libjpeg-turbo warns about. It repairs what can be repaired.

A truncated file is an error, never an image with a grey bottom. Grey and CMYK become RGB. The EXIF orientation is
ignored, as it was in 2012, unless the caller asks for it.
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
from alexnet.data.image.pixels import BytesLike

Image.preinit()
assert WebPImagePlugin  # importing this plugin registers WebP; preinit registers the other four

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""The only formats that Pillow may try: it knows dozens, and starts other programs for some."""

MAX_MEMORY: Final = 1 << 30
"""Bytes that decoding one image may take."""

BYTES_PER_PIXEL: Final = {"WEBP": 16, "JPEG": 12}
"""Memory that decoding takes, by format, measured in the worst case (docs/reliability.md). For JPEG that is progressive
CMYK by Pillow; libjpeg-turbo takes `DEFAULT_BYTES_PER_PIXEL` + 1."""

DEFAULT_BYTES_PER_PIXEL: Final = 8
"""The same for all other formats."""

BAND_PIXELS: Final = 1 << 20
"""Pixels that are converted to RGB at a time."""

JPEG_SIGNATURE: Final = b"\xff\xd8\xff"
"""The first bytes of every JPEG file: the SOI marker, and the first byte of the next marker."""

_ORIENTATION_TAG: Final = 0x0112
_TRANSPOSED: Final = (5, 6, 7, 8)
_MIRRORED: Final = (2, 3, 6, 7)  # left to right, after the transposition
_FLIPPED: Final = (3, 4, 7, 8)  # top to bottom, after the transposition


def decode(data: BytesLike, shorter_side: int | None = None, honour_exif: bool = False) -> np.ndarray:
    """The image in `data` as uint8 [height, width, 3], RGB: the first frame of an animation, transparent pixels on
    white.

    With `shorter_side`, a JPEG whose shorter side is at least twice that may come scaled down by a whole factor, which
    is faster. It is never smaller than `shorter_side`, and once rescaled to it shows no visible difference.

    Raises ValueError, with the reason as its text, unless `data` holds a whole image of acceptable size.
    """
    view = memoryview(data)
    if view.nbytes == 0:
        raise ValueError("the file is empty")
    image = _decode_jpeg(view, shorter_side) if is_jpeg(view) else None
    if image is None:
        image = decode_with_pillow(view)
    return _upright(image, _orientation(view)) if honour_exif else image


def is_jpeg(data: BytesLike) -> bool:
    """Whether `data` begins as a JPEG file does."""
    return bytes(memoryview(data)[: len(JPEG_SIGNATURE)]) == JPEG_SIGNATURE


def _decode_jpeg(data: memoryview, shorter_side: int | None) -> np.ndarray | None:
    """uint8 [height, width, 3]; None where Pillow should try: CMYK, and all that libjpeg-turbo refuses or warns of."""
    try:
        height, width, colours, sampling = cast(tuple[int, int, str, str], simplejpeg.decode_jpeg_header(data))
    except (ValueError, KeyError):  # KeyError: chroma subsampling that simplejpeg has no name for
        return None
    _check_size(width, height, DEFAULT_BYTES_PER_PIXEL + 1)
    if colours not in ("YCbCr", "Gray", "RGB"):
        return None
    # An inverse DCT of fewer points is cheaper than decoding all pixels and averaging them.
    min_side, min_factor = 0, 1
    if shorter_side is not None and min(height, width) >= 2 * shorter_side:
        min_side, min_factor = shorter_side, 2
    elif (colours, sampling) in (("YCbCr", "444"), ("YCbCr", "420")):
        image = np.empty((height, width, 3), np.uint8)
        if pixels.decode_crops([data], (height, width), pixels.WHOLE, image[np.newaxis]).all():
            return image
    try:
        return simplejpeg.decode_jpeg(data, min_height=min_side, min_width=min_side, min_factor=min_factor)
    except ValueError:
        return None


def decode_with_pillow(data: memoryview) -> np.ndarray:
    """`data` by Pillow, uint8 [height, width, 3]. Raises ValueError as `decode` does."""
    _check_size(*_webp_size(data), BYTES_PER_PIXEL["WEBP"])
    with _without_warnings():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_size(*image.size, BYTES_PER_PIXEL.get(image.format or "", DEFAULT_BYTES_PER_PIXEL))
                return _rgb(image)
        except UnidentifiedImageError:
            raise ValueError("it is no JPEG, PNG, WebP, GIF or BMP image") from None
        except _TooLargeError:
            raise
        except Exception as error:  # a damaged file can raise nearly anything
            raise ValueError(f"it cannot be decoded: {error}") from None


class _TooLargeError(ValueError):
    """The image is too large; nothing else is known to be wrong with it."""


def _check_size(width: int, height: int, bytes_per_pixel: int) -> None:
    max_pixels = MAX_MEMORY // bytes_per_pixel
    if width * height > max_pixels:
        raise _TooLargeError(f"it claims {width}x{height} pixels, more than the {max_pixels:,} that are decoded")


def _webp_size(data: memoryview) -> tuple[int, int]:
    """Width and height that a WebP header claims; (0, 0) for any other format. Pillow allocates memory for a WebP
    image before it tells its size. Format: https://developers.google.com/speed/webp/docs/riff_container."""

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


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 [height, width, 3]. A large image is converted in bands of rows, so that it is in memory only once."""
    if image.width * image.height <= BAND_PIXELS:
        return _rgb_band(image)
    image.load()
    out = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        out[top:bottom] = _rgb_band(image.crop((0, top, image.width, bottom)))
    return out


def _rgb_band(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits per sample, which convert() would clip at 255
        grey = np.asarray(image).astype(np.float64) / 257
        eight_bits = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        return np.repeat(eight_bits[:, :, None], 3, axis=2)
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


def _orientation(data: memoryview) -> object:
    """The EXIF orientation, 2 to 8; any other value means upright."""
    with _without_warnings():
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.getexif().get(_ORIENTATION_TAG)
        except Exception:  # some versions of Pillow raise nearly anything for broken EXIF
            return None


def _upright(image: np.ndarray, orientation: object) -> np.ndarray:
    if orientation in _TRANSPOSED:
        image = image.transpose(1, 0, 2)
    if orientation in _MIRRORED:
        image = image[:, ::-1]
    if orientation in _FLIPPED:
        image = image[::-1]
    return np.ascontiguousarray(image)
