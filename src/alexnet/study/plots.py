"""conv1's kernels (figure 3 of the paper) and activation maps.

Functions here take arrays and return a matplotlib `Figure`.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.study.drawing import BLUE, DPI, FAINT, INK, WIDTH, box, shorten, show
from alexnet.study.tiles import even_columns, kernel_tiles, montage

MOST_BARS = 20
"""Outputs of the last layer that are drawn with their names."""
PIXELS = round(WIDTH * DPI)
GAP = 4
"""Pixels between two tiles."""
MARGIN, SPACE = 48, 16
"""Pixels on the left of the kernels, for their label, and on the other sides."""


def kernels(weights: np.ndarray, towers: int = 2) -> Figure:
    """Figure 3: the kernels of conv1, float [K, 3, H, W], in rows of 12, one tower below the other.

    Their colours are those of `kernel_tiles`.
    """
    tiles = kernel_tiles(weights)  # [K, H, W, 3]
    towers = towers if len(tiles) % towers == 0 else 1
    columns = even_columns(len(tiles) // towers, 12)
    room = PIXELS - MARGIN - SPACE + GAP
    zoom = max(1, min(10, (room // columns - GAP) // tiles.shape[1]))
    tiles = tiles.repeat(zoom, axis=1).repeat(zoom, axis=2)
    grids = [montage(part, columns, 255, GAP) for part in np.split(tiles, towers)]
    return stacked(grids, [f"tower {i + 1}" for i in range(towers)])


def activations(
    maps: np.ndarray, image: np.ndarray, layer: str, towers: int = 2, classes: Sequence[str] = ()
) -> Figure:
    """The maps of one layer, float [C, H, W], with the image, uint8 [H, W, 3], above; a layer without maps, float [C],
    row by row, or as bars where the names of its `classes` are given.

    All maps have one colour scale: from 0 where no output is negative, otherwise symmetric around 0 (white). The number
    at the beginning of a row is that of its first map, counted from 1.
    """
    if classes:
        return class_outputs(maps, image, layer, classes)
    flat = maps.ndim == 1
    what = f"{maps.shape[0]} outputs of {layer}, row by row"
    if flat:
        outputs, wide = len(maps), math.ceil(math.sqrt(2 * len(maps)))
        lines = math.ceil(outputs / wide)
        maps = np.pad(maps, (0, lines * wide - outputs), constant_values=np.nan).reshape(1, lines, wide)
    else:
        what = f"{len(maps)} maps of {layer}, {maps.shape[1]} x {maps.shape[2]} each"
    towers = towers if not flat and len(maps) % towers == 0 else 1
    columns = even_columns(len(maps) // towers, round(math.sqrt(2 * len(maps))))
    size = maps.shape[1]
    gap = 0 if columns == 1 else max(1, size // 12)
    grids = [montage(part, columns, np.nan, gap) for part in np.split(maps, towers)]

    edge, left, head, between = 0.08, 0.08 if flat else 0.36, 1.3, 0.3  # inches
    side = WIDTH - left - edge
    heights = [side * grid.shape[0] / grid.shape[1] for grid in grids]
    height = edge + head + sum(heights) + between * len(grids) + edge
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    show_image(figure, image, edge, head, what)
    high = max(float(np.nanquantile(np.abs(maps), 0.999)), 1e-12)
    colours = {"cmap": "RdBu_r", "vmin": -high} if np.nanmin(maps) < 0 else {"cmap": "viridis", "vmin": 0.0}
    top = height - edge - head
    for number, (grid, tall) in enumerate(zip(grids, heights, strict=True), start=1):
        if len(grids) > 1:
            where = 1 - (height - top + 0.18) / height
            figure.text(left / WIDTH, where, f"tower {number}", size=7, color=FAINT, va="center")
        axes = box(figure, left, top - between - tall, side, tall)
        drawn = axes.imshow(grid, vmax=high, interpolation="nearest", **colours)  # type: ignore[arg-type]
        axes.set_axis_off()
        if not flat:
            number_rows(axes, len(maps) // towers, columns, size, gap, first=1 + (number - 1) * len(maps) // towers)
        top -= between + tall
        if number == 1:
            scale = box(figure, 2 * edge + head, height - edge - head + 0.5, 2.0, 0.12)
            figure.colorbar(drawn, cax=scale, orientation="horizontal")
            scale.tick_params(labelsize=7, color=FAINT, labelcolor=INK)
    return figure


def show_image(figure: Figure, image: np.ndarray, edge: float, head: float, what: str) -> None:
    """The image at the top left, `head` inches high, and beside it `what` is shown."""
    width, height = figure.get_size_inches()
    show(box(figure, edge, height - edge - head, head, head), image)
    figure.text((2 * edge + head) / width, 1 - 0.28 / height, what, size=9, color=INK, va="center")


def number_rows(axes: Axes, maps: int, columns: int, size: int, gap: int, first: int) -> None:
    """Write the number of the first map at the beginning of each row of a montage, as far as there is room."""
    rows = -(-maps // columns)
    every = max(1, math.ceil(rows / 40))
    for row in range(0, rows, every):
        middle = row * (size + gap) + (size - 1) / 2
        axes.text(-0.005, middle, str(first + row * columns), transform=axes.get_yaxis_transform(), size=5.5,
                  color=FAINT, ha="right", va="center")  # fmt: skip


def class_outputs(outputs: np.ndarray, image: np.ndarray, layer: str, classes: Sequence[str]) -> Figure:
    """The `MOST_BARS` largest outputs of the last layer, float [C], as bars with the names of their classes."""
    order = np.argsort(-outputs, kind="stable")[:MOST_BARS]
    edge, head, line, names = 0.08, 1.3, 0.2, 1.9  # inches
    height = edge + head + 0.3 + line * len(order) + 0.35
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    largest = "" if len(order) == len(outputs) else f" the {len(order)} largest of"
    show_image(figure, image, edge, head, f"{layer}:{largest} {len(outputs)} outputs, before the softmax")
    axes = box(figure, names, 0.3, WIDTH - names - 0.3, line * len(order))
    axes.barh(range(len(order)), outputs[order], height=0.8, color=BLUE, linewidth=0)
    axes.set_yticks(range(len(order)), [shorten(classes[int(i)], 26) for i in order], size=7, color=INK)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.axvline(0, color=FAINT, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7, color=FAINT, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def stacked(grids: Sequence[np.ndarray], labels: Sequence[str]) -> Figure:
    """Grids of pixels, uint8 [H, W, 3], one below the other with a label on the left, each pixel a square."""
    width = max(grid.shape[1] for grid in grids) + MARGIN + SPACE
    height = sum(grid.shape[0] + SPACE for grid in grids) + SPACE
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    top = height - SPACE
    for grid, label in zip(grids, labels, strict=True):
        bottom = top - grid.shape[0]
        axes = box(figure, MARGIN / DPI, bottom / DPI, grid.shape[1] / DPI, grid.shape[0] / DPI)
        axes.imshow(grid, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        figure.text(
            MARGIN / 2 / width, (top + bottom) / 2 / height, label, size=8, color=INK, rotation=90,
            ha="center", va="center",
        )  # fmt: skip
        top = bottom - SPACE
    return figure
