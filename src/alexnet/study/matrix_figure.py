"""The confusion matrix as a figure that can be read with ten classes, a hundred or a thousand.

Functions here take arrays and plain values and return a matplotlib `Figure`.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from alexnet.study.drawing import DPI, FAINT, INK, WIDTH, box, shorten

MOST_COUNTED, MOST_NAMED = 25, 130
"""Classes up to which every cell has its number, and every row and column its name."""
LONGEST = 22
"""Characters of a name."""
WHITE_ABOVE = 60
"""Per cent above which a cell is so dark that its number is white."""
DOTS = 300
"""Cells beside each other that can be told apart in a figure of `WIDTH` inches."""


def confusions(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Rows are true classes, columns predicted ones; the colour is the fraction of the true class, in per cent.

    `matrix` counts images, int64 [C, C]. Of many classes only every so many are named, and a cell shows the largest of
    several: a confusion between two classes stays visible.
    """
    classes = len(names)
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = max(WIDTH - 2.0, classes * (0.34 if classes <= MOST_COUNTED else 0.078 if classes <= MOST_NAMED else 0))
    margin, head, edge, bar = 1.55, 1.45, 0.2, 0.62  # inches
    figure = Figure(figsize=(margin + side + bar, head + side + edge), dpi=DPI)
    axes = box(figure, margin, edge, side, side)
    step = 1 if classes <= MOST_NAMED else -(-classes // DOTS)
    # Few images of a class are confused with any one other: between 0 and 10 per cent there are more colours.
    colours = Normalize(0, 100) if classes <= MOST_COUNTED else PowerNorm(0.4, 0, 100)
    extent = (-0.5, classes - 0.5, classes - 0.5, -0.5)
    drawn = axes.imshow(pooled(shares, step), cmap="Blues", norm=colours, interpolation="nearest", extent=extent)
    every = 1 if classes <= MOST_NAMED else max(1, classes // 40)
    name_axes(axes, names, every, size=8 if classes <= 12 else 6.5 if classes <= MOST_COUNTED else 4.5)
    if classes <= MOST_COUNTED:
        write_counts(axes, matrix, shares, size=8 if classes <= 12 else 6)
    scale = box(figure, margin + side + 0.12, edge, 0.12, min(side, 2.5))
    figure.colorbar(drawn, cax=scale, ticks=[0, 1, 10, 50, 100] if classes > MOST_COUNTED else [0, 50, 100])
    scale.tick_params(labelsize=6.5, color=FAINT, labelcolor=INK)
    scale.set_title("% of\nthe class", size=6.5, color=FAINT, loc="left", pad=4)
    return figure


def pooled(shares: np.ndarray, step: int) -> np.ndarray:
    """The largest of each square of `step` x `step` cells: float [C, C] to [ceil(C / step), ceil(C / step)]."""
    wanted = -(-len(shares) // step) * step
    padded = np.pad(shares, (0, wanted - len(shares)))
    return padded.reshape(wanted // step, step, wanted // step, step).max((1, 3))


def name_axes(axes: Axes, names: Sequence[str], every: int, size: float) -> None:
    """The names of every so many classes at the rows, and, upright, at the columns."""
    at = range(0, len(names), every)
    shown = [shorten(names[index], LONGEST) for index in at]
    axes.set_yticks(at, shown, size=size, color=INK)
    axes.set_xticks(at, shown, size=size, color=INK, rotation=90)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=2, width=0.4, color=FAINT, pad=1)
    axes.set_ylabel("true class", size=7, color=FAINT)
    axes.set_xlabel("predicted class", size=7, color=FAINT)
    axes.xaxis.set_label_position("top")
    for spine in axes.spines.values():
        spine.set(color=FAINT, linewidth=0.5)


def write_counts(axes: Axes, matrix: np.ndarray, shares: np.ndarray, size: float) -> None:
    """The number of images in every cell that has any."""
    for row, column in np.argwhere(matrix).tolist():
        colour = "white" if shares[row, column] > WHITE_ABOVE else INK
        axes.text(column, row, f"{matrix[row, column]}", ha="center", va="center", size=size, color=colour)
