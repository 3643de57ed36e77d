"""Images for the browser: PNG of pixels, and of activation maps in colours."""

import io

import numpy as np
from PIL import Image

from alexnet.study.tiles import even_columns, montage

ANCHORS = {
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    "signed": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
}
"""Colours at equal distances: those of matplotlib's viridis and RdBu_r, which the figures have too."""


def palette(name: str) -> np.ndarray:
    """256 colours, uint8 [256, 3], interpolated between the anchors."""
    anchors = np.array([list(bytes.fromhex(each)) for each in ANCHORS[name].split()], float)
    at = np.linspace(0, len(anchors) - 1, 256)
    return np.stack([np.interp(at, range(len(anchors)), anchors[:, c]) for c in range(3)], 1).round().astype(np.uint8)


def encode(pixels: np.ndarray) -> bytes:
    """PNG of uint8 [H, W, 3] or [H, W]."""
    return _saved(Image.fromarray(pixels))


def encode_maps(values: np.ndarray, high: float, signed: bool) -> bytes:
    """PNG of a map, float [H, W], in colours: from 0 to `high`, or from -`high` to `high` if `signed`."""
    scaled = (values / high + 1) / 2 if signed else values / high
    image = Image.fromarray(np.rint(255 * scaled.clip(0, 1)).astype(np.uint8))
    image.putpalette(palette("signed" if signed else "viridis").tobytes())
    return _saved(image)


def _saved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def scale_of(values: np.ndarray) -> tuple[float, bool]:
    """The scale of a layer's colours, as `encode_maps` takes it: as in the figures, symmetric where there are negative
    values, and up to the largest but one in a thousand."""
    return max(float(np.quantile(np.abs(values), 0.999)), 1e-12), bool(values.min() < 0)


def tile(maps: np.ndarray, towers: int) -> np.ndarray:
    """Maps [N, H, W, ...] in one array without gaps, those of each tower in rows of equal length where they can be, one
    tower below the other."""
    columns = columns_of(len(maps), towers)
    return np.concatenate([montage(part, columns, 0, gap=0) for part in np.split(maps, towers)])


def columns_of(maps: int, towers: int) -> int:
    """Maps in a row of `tile`."""
    count = maps // towers
    return even_columns(count, round((2 * count) ** 0.5))
