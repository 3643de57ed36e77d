"""Panels of images with the network's answers: figure 4 of the paper.

Functions here take arrays and plain values and return a matplotlib `Figure`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.ranges import UsageError
from alexnet.study.class_names import short_name
from alexnet.study.drawing import (
    BLUE,
    DPI,
    FAINT,
    INK,
    RED,
    SALMON,
    WIDTH,
    box,
    shorten,
    show,
    text,
    three_figures,
    wrapped,
)

MOST_IMAGES = 40
BADGE = {"boxstyle": "square,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
"""Behind a number that stands on an image."""


def check_panel(images: Sequence[object]) -> None:
    """ValueError for more images than a panel can show."""
    if len(images) > MOST_IMAGES:
        raise UsageError(f"A panel shows at most {MOST_IMAGES} images, not {len(images)}; give fewer or no --panel.")


def predictions(images: Sequence[np.ndarray], answers: Sequence[dict[str, Any]], columns: int = 4) -> Figure:
    """Figure 4, left: each image, its true class and file name, and its five most probable classes as bars with their
    per cent, the true one in red.

    `images` are uint8 [H, W, 3]; `answers` have `path`, `true`, `true_name` and `top5` as `predict` returns them.
    """
    columns = min(columns, len(images))
    lines = -(-len(images) // columns)
    cell, gap, label, bars = 1.375, 0.1, 0.36, 0.92  # inches
    height = lines * (cell + label + bars + 0.12) + gap
    width = columns * (cell + gap) + gap
    figure = Figure(figsize=(width, height), dpi=DPI)
    for number, (image, answer) in enumerate(zip(images, answers, strict=True)):
        line, column = divmod(number, columns)
        left = gap + column * (cell + gap)
        top = height - gap - line * (cell + label + bars + 0.12)
        axes = box(figure, left, top - cell, cell, cell)
        show(axes, image)
        known = answer["true"] is not None
        text(axes, 0.5, -0.03, short_name(answer["true_name"]) if known else "", 7.5, 22, weight="bold")
        text(axes, 0.5, -0.14, file_name(answer["path"]), 5.5, 32, color=FAINT)
        axes = box(figure, left, top - cell - label - bars, cell, bars)
        draw_bars(axes, answer["top5"], answer["true"])
    return figure


def file_name(path: str) -> str:
    """The last part of a path or of an image's name in its source."""
    return path.rpartition("/")[2]


def draw_bars(axes: Axes, top5: Sequence[dict[str, Any]], true: str | None) -> None:
    """Five horizontal bars from the top, each with the name of its class and its per cent on it."""
    for rank, guess in enumerate(top5):
        colour = SALMON if guess["wnid"] == true else BLUE
        axes.barh(-rank, guess["probability"], height=0.86, color=colour, linewidth=0)
        axes.text(0.02, -rank, shorten(short_name(guess["name"]), 20), va="center", size=6.5, color=INK)
        axes.text(0.98, -rank, f"{100 * guess['probability']:.0f} %", va="center", ha="right", size=5.5, color=INK)
    axes.set(xlim=(0, 1), ylim=(-4.5, 0.5), xticks=[], yticks=[])
    for side, spine in axes.spines.items():
        spine.set(visible=side == "left", color=FAINT, linewidth=0.6)


def similar(
    images: Sequence[np.ndarray],
    neighbours: Sequence[Sequence[np.ndarray]],
    queries: Sequence[dict[str, Any]],
) -> Figure:
    """Figure 4, right: in each row an image, then the images nearest to it with their class and distance.

    All images are uint8 [H, W, 3]; `queries` have `true`, `true_name` and `nearest` as `similar` returns them.
    """
    columns = 1 + max(len(row) for row in neighbours)
    gap, apart, label, head = 0.06, 0.14, 0.36, 0.24  # inches
    cell = (WIDTH - 2 * gap - apart - (columns - 2) * gap) / columns if columns > 4 else 1.3
    width = 2 * gap + apart + columns * cell + (columns - 2) * gap
    height = head + len(images) * (cell + label) + gap
    figure = Figure(figsize=(width, height), dpi=DPI)
    for line, (image, others, query) in enumerate(zip(images, neighbours, queries, strict=True)):
        bottom = height - head - (line + 1) * (cell + label) + label
        axes = box(figure, gap, bottom, cell, cell)
        show(axes, image)
        if query["true"] is not None:
            label_below(axes, short_name(query["true_name"]), INK, weight="bold")
        for number, (other, found) in enumerate(zip(others, query["nearest"], strict=True)):
            axes = box(figure, gap + cell + apart + number * (cell + gap), bottom, cell, cell)
            show(axes, other)
            same = found["wnid"] == query["true"]
            label_below(axes, short_name(found["name"]), RED if same else FAINT)
            text(axes, 0.97, 0.97, three_figures(found["distance"]), 5, 12, color=INK, ha="right", bbox=BADGE)
    headings = {gap: "image", gap + cell + apart: "nearest images and their distances (red: same class)"}
    for left, heading in headings.items():
        figure.text(left / width, 1 - 0.17 / height, heading, size=7, color=FAINT)
    return figure


def label_below(axes: Axes, name: str, colour: str, **style: Any) -> None:
    """The name of a class below an image, in two lines where one is too short."""
    style = {"ha": "center", "va": "top", "size": 5.5, "color": colour, "linespacing": 1.0} | style
    axes.text(0.5, -0.04, wrapped(name, 15), transform=axes.transAxes, **style)
