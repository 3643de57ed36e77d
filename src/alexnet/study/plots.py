"""conv1's kernels (figure 3 of the paper) and activation maps.

Functions here take arrays and return a matplotlib `Figure`.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from alexnet.study.drawing import DPI, FAINT, INK, WIDTH, box, show

PIXELS = round(WIDTH * DPI)
GAP = 4
"""Pixels between two tiles."""
MARGIN, SPACE = 48, 16
"""Pixels on the left of the kernels, for their label, and on the other sides."""


def kernels(weights: np.ndarray, towers: int = 2) -> Figure:
    """Figure 3: the kernels of conv1, float [K, 3, H, W], in rows of 12, one tower below the other.

    Zero is grey. Each kernel is divided by its largest absolute weight, all three colours alike, which keeps hue and
    sign; but by no less than a tenth of the largest of all kernels, so that one that learned nothing looks grey.
    """
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scale = np.maximum(largest, 0.1 * largest.max()).clip(min=1e-12)
    tiles = np.rint(127.5 + 127.5 * weights / scale).astype(np.uint8).transpose(0, 2, 3, 1)  # [K, H, W, 3]
    towers = towers if len(tiles) % towers == 0 else 1
    columns = even_columns(len(tiles) // towers, 12)
    room = PIXELS - MARGIN - SPACE + GAP
    zoom = max(1, min(10, (room // columns - GAP) // tiles.shape[1]))
    tiles = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
    grids = [montage(part, columns, white=255) for part in np.split(tiles, towers)]
    return stacked(grids, [f"tower {i + 1}" for i in range(towers)])


def activations(maps: np.ndarray, image: np.ndarray, layer: str, towers: int = 2) -> Figure:
    """The maps of one layer, float [C, H, W] (or [C], drawn row by row), with the image, uint8 [H, W, 3], above.

    All maps have one colour scale: from 0 where no output is negative, otherwise symmetric around 0 (white).
    """
    flat = maps.ndim == 1
    if flat:
        outputs, wide = len(maps), math.ceil(math.sqrt(2 * len(maps)))
        lines = math.ceil(outputs / wide)
        maps = np.pad(maps, (0, lines * wide - outputs), constant_values=np.nan).reshape(1, lines, wide)
        towers = 1
    towers = towers if len(maps) % towers == 0 else 1
    columns = even_columns(len(maps) // towers, round(math.sqrt(2 * len(maps))))
    size = maps.shape[1]
    high = max(float(np.nanquantile(np.abs(maps), 0.999)), 1e-12)
    signed = bool(np.nanmin(maps) < 0)
    gap = 0 if columns == 1 else max(1, size // 12)
    grids = [montage(part, columns, white=np.nan, gap=gap) for part in np.split(maps, towers)]

    edge, head, between, side = 0.08, 1.3, 0.24, WIDTH - 0.16  # inches
    heights = [side * grid.shape[0] / grid.shape[1] for grid in grids]
    height = edge + head + sum(heights) + between * len(grids) + edge
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    show(box(figure, edge, height - edge - head, head, head), image)
    what = f"{len(maps)} maps of {layer}, {maps.shape[1]} x {maps.shape[2]} each"
    if flat:
        what = f"{outputs} outputs of {layer}"
    figure.text((2 * edge + head) / WIDTH, 1 - 0.28 / height, what, size=9, color=INK, va="center")
    top = height - edge - head
    for number, (grid, tall) in enumerate(zip(grids, heights, strict=True), start=1):
        if len(grids) > 1:
            where = 1 - (height - top + 0.14) / height
            figure.text(edge / WIDTH, where, f"tower {number}", size=7, color=FAINT, va="center")
        axes = box(figure, edge, top - between - tall, side, tall)
        colours = {"cmap": "RdBu_r", "vmin": -high} if signed else {"cmap": "viridis", "vmin": 0.0}
        drawn = axes.imshow(grid, vmax=high, interpolation="nearest", **colours)  # type: ignore[arg-type]
        axes.set_axis_off()
        top -= between + tall
        if number == 1:
            scale = box(figure, 2 * edge + head, height - edge - head + 0.4, 2.0, 0.12)
            figure.colorbar(drawn, cax=scale, orientation="horizontal")
            scale.tick_params(labelsize=7, color=FAINT, labelcolor=INK)
    return figure


def montage(tiles: np.ndarray, columns: int, white: float, gap: int = GAP) -> np.ndarray:
    """Tiles [N, H, W, ...] row by row in one array, with `gap` pixels of value `white` between them."""
    lines = -(-len(tiles) // columns)
    height, width = tiles.shape[1:3]
    shape = (lines * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    whole = np.full(shape, white, dtype=tiles.dtype)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        whole[top : top + height, left : left + width] = tile
    return whole


def even_columns(count: int, most: int) -> int:
    """At most `most` columns for `count` tiles; down to half as many if all rows are then equally long."""
    most = max(1, min(count, most))
    return next((columns for columns in range(most, most // 2, -1) if count % columns == 0), most)


def stacked(grids: Sequence[np.ndarray], labels: Sequence[str]) -> Figure:
    """Grids of pixels, uint8 [H, W, 3], one below the other with a label on the left, not rescaled."""
    width = max(grid.shape[1] for grid in grids) + MARGIN + SPACE
    height = sum(grid.shape[0] + SPACE for grid in grids) + SPACE
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    top = height - SPACE
    for grid, label in zip(grids, labels, strict=True):
        bottom = top - grid.shape[0]
        figure.figimage(grid, MARGIN, bottom, origin="upper")
        figure.text(
            MARGIN / 2 / width, (top + bottom) / 2 / height, label, size=8, color=INK, rotation=90,
            ha="center", va="center",
        )  # fmt: skip
        top = bottom - SPACE
    return figure
