"""The one conversion of a Pillow image to RGB, for files and for what a program hands over.

Transparent pixels become white, 16 bits become 8, palettes and CMYK become their colours.
"""

from typing import Final

import numpy as np
from PIL import Image

BAND_PIXELS: Final = 1 << 20
"""Pixels that are converted to RGB at a time."""

_SCALED: Final = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey samples of 2 and 4 bits by; it leaves the transparent value as it is."""


def to_rgb(image: Image.Image) -> np.ndarray:
    """`image` as uint8 [height, width, 3].

    A large image is converted in bands of rows, so that it is in memory only once. Raises ValueError, with the reason
    as its text, for pixels that are no colours (floating-point numbers, integers of 32 bits).
    """
    clear = _transparent_value(image)
    image.load()
    if image.width * image.height <= BAND_PIXELS:
        return _band_to_rgb(image, clear)
    out = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        out[top:bottom] = _band_to_rgb(image.crop((0, top, image.width, bottom)), clear)
    return out


def _transparent_value(image: Image.Image) -> int | tuple[int, ...] | None:
    """The grey value or colour that means transparent (tRNS of PNG), on the scale of the loaded samples; None for all
    images without one, and for palettes. Of RGB with 16 bits per sample Pillow keeps the upper eight, of all three.

    Once it has loaded a file, Pillow has forgotten how many bits its samples had; then the values tell."""
    clear = image.info.get("transparency")
    tile = getattr(image, "tile", None)  # how Pillow will load a file; empty once it is loaded
    raw_mode = tile[0][3] if tile else image.mode
    raw_mode = raw_mode[0] if isinstance(raw_mode, tuple) else raw_mode
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        if not isinstance(clear, int):
            return None
        return clear * _SCALED.get(raw_mode, 1) if tile or image.mode != "L" else _found_scaled(image, clear)
    if image.mode == "RGB" and isinstance(clear, tuple):
        is_deep = raw_mode == "RGB;16B" or max(clear) > 255
        return tuple(value >> 8 for value in clear) if is_deep else clear
    return None


def _found_scaled(image: Image.Image, clear: int) -> int:
    """The transparent value of loaded grey samples: times the one of `_SCALED` by which all samples can be divided and
    with which the value occurs. There is at most one."""
    counts = image.histogram()
    greys = [grey for grey, count in enumerate(counts) if count]
    for scale in _SCALED.values():
        if clear * scale in greys and not any(grey % scale for grey in greys):
            return clear * scale
    return clear


def _band_to_rgb(image: Image.Image, clear: int | tuple[int, ...] | None) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 or 16 bits per sample")
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        return _grey_to_rgb(image, clear)
    if isinstance(clear, tuple):
        found = np.array(image)
        channels = [found[:, :, c] for c in range(3)]
        is_clear = np.logical_and.reduce([channel == value for channel, value in zip(channels, clear, strict=True)])
        for channel in channels:  # many times faster than `found[is_clear] = 255`
            np.copyto(channel, 255, where=is_clear)
        return found
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(image: Image.Image, clear: int | tuple[int, ...] | None) -> np.ndarray:
    samples = np.asarray(image if image.mode.startswith("I") else image.convert("L"))
    grey = samples
    if image.mode.startswith("I"):  # 16 bits per sample, which convert() would clip at 255
        if samples.min(initial=0) < 0 or samples.max(initial=0) > 65535:
            raise ValueError("its pixels are integers of 32 bits: save it with 8 or 16 bits per sample")
        grey = np.rint(samples / 257).astype(np.uint8)
    if clear is not None:
        grey = np.where(samples == clear, np.uint8(255), grey)
    return np.repeat(grey[:, :, None], 3, axis=2)
