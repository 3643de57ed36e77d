"""What the network has learned and how: conv1 kernels (figure 3 of the paper), activation maps, learning
curves.

Functions here take arrays and return a matplotlib `Figure`, as in `panels`.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.study.panels import DPI, FAINT, INK, OTHER_COLOUR, SAME_COLOUR, WIDTH, box, show

PIXELS = round(WIDTH * DPI)
GAP = 4
"""Pixels between two tiles."""
MARGIN, SPACE = 48, 16
"""Pixels on the left of the kernels, for their label, and on the other sides."""
STEPS_IN_MEAN = 200
"""The smoothed training loss has about this many independent points."""


def kernels(weights: np.ndarray, towers: int = 2) -> Figure:
    """Figure 3: the kernels of conv1, float [K, 3, H, W], a row of 12 after the other, the towers apart.

    Zero is grey. Each kernel is scaled by its largest weight, the same for its three colours, so that hue and
    sign stay; but by no less than a tenth of the largest weight of all, so that a kernel that learned nothing
    looks grey.
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
    """The maps of one stage, float [C, H, W] (or [C], drawn row by row), with the image, uint8 [H, W,
    3], above.

    One colour scale for all maps: from 0 for a stage without negative outputs, otherwise symmetric around 0
    (white).
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


def learning_curves(
    steps: Sequence[dict[str, float]], evaluations: Sequence[dict[str, float]], name: str = ""
) -> Figure:
    """Training loss, and training and validation errors in per cent, over epochs; dotted where the rate fell.

    `steps` have `epoch`, `loss`, `learning_rate` and perhaps `train_top1_error`; `evaluations` have `epoch`,
    `top1_error`, `top5_error`, as `metrics.jsonl` has them.
    """
    figure = Figure(figsize=(WIDTH, 2.9), dpi=DPI)
    left, right = figure.subplots(1, 2)
    epochs = np.array([step["epoch"] for step in steps])
    losses = np.array([step["loss"] for step in steps])
    if len(steps):
        left.plot(epochs, losses, color=OTHER_COLOUR, linewidth=0.5, alpha=0.45, label="each step")
        left.plot(*smoothed(epochs, losses), color="#1f4e8c", linewidth=1.4, label="smoothed")
        top = max(np.quantile(losses, 0.995), losses[-1]) * 1.08
        left.set(ylim=(0, top if math.isfinite(top) and top > 0 else 1))
    if any("train_top1_error" in step for step in steps):
        known = [(step["epoch"], 100 * step["train_top1_error"]) for step in steps if "train_top1_error" in step]
        right.plot(
            *smoothed(*np.array(known).T),
            color=FAINT,
            linewidth=0.9,
            label="top-1, training (with dropout)",
            zorder=1,
        )
    at = [evaluation["epoch"] for evaluation in evaluations]
    dots = "." if len(at) < 40 else ""
    for key, label, colour in (
        ("top1_error", "top-1, validation", SAME_COLOUR),
        ("top5_error", "top-5, validation", "#f0a202"),
    ):
        if at:
            errors = [100 * evaluation[key] for evaluation in evaluations]
            right.plot(at, errors, color=colour, linewidth=1.4, marker=dots, markersize=4, label=label)
    right.set(ylim=(0, 100))
    for axes, title in ((left, "training loss"), (right, "error, per cent")):
        axes.set_title(title, size=8.5, color=INK, loc="left")
        axes.set_xlabel("epochs", size=8, color=INK)
        tidy(axes)
        for epoch, rate in drops(steps):
            axes.axvline(epoch, color=FAINT, linewidth=0.7, linestyle=":", zorder=0)
            if axes is left:
                axes.text(
                    epoch,
                    0.5,  # after a drop the loss is low: above it there is room
                    f"rate {rate:.2g}",
                    size=6,
                    color=FAINT,
                    rotation=90,
                    ha="left",
                    transform=axes.get_xaxis_transform(),
                )
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=6.5, framealpha=1, edgecolor="white", labelcolor=INK, loc="upper right")
    if name:
        figure.suptitle(name, size=9, color=INK, x=0.01, ha="left")
    figure.set_layout_engine("tight")
    return figure


def drops(steps: Sequence[dict[str, float]]) -> list[tuple[float, float]]:
    """(epoch, new rate) where the learning rate fell to less than three quarters between two steps."""
    pairs = itertools.pairwise(steps)
    return [
        (before["epoch"], after["learning_rate"])
        for before, after in pairs
        if after["learning_rate"] < 0.75 * before["learning_rate"]
    ]


def smoothed(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbouring points; nothing is averaged when there are few."""
    width = max(1, len(x) // STEPS_IN_MEAN)
    whole = len(x) // width * width
    return x[:whole].reshape(-1, width).mean(axis=1), y[:whole].reshape(-1, width).mean(axis=1)


def tidy(axes: Axes) -> None:
    """A light grid, no frame at the top and right, small numbers."""
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7, color=FAINT, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT, linewidth=0.6)


def montage(tiles: np.ndarray, columns: int, white: float, gap: int = GAP) -> np.ndarray:
    """Tiles [N, H, W, ...] row by row in one array, `gap` pixels of `white` between them."""
    lines = -(-len(tiles) // columns)
    height, width = tiles.shape[1:3]
    shape = (lines * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    whole = np.full(shape, white, dtype=tiles.dtype)
    for place, tile in enumerate(tiles):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        whole[top : top + height, left : left + width] = tile
    return whole


def even_columns(count: int, most: int) -> int:
    """At most `most` columns for `count` tiles, up to half fewer where that leaves no row ragged."""
    most = max(1, min(count, most))
    return next((columns for columns in range(most, most // 2, -1) if count % columns == 0), most)


def stacked(grids: Sequence[np.ndarray], labels: Sequence[str]) -> Figure:
    """Grids of pixels, uint8 [H, W, 3], below each other with a label on the left, every pixel one dot."""
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
