"""Learning curves: loss and errors over epochs, from the lines of `metrics.jsonl`."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet.study.drawing import BLUE, DPI, FAINT, INK, RED, WIDTH
from alexnet.study.smoothing import drops, smoothed

DARK_BLUE, YELLOW = "#1f4e8c", "#f0a202"
STEPS_IN_MEAN = 200
"""The smoothed training loss has about this many independent points."""

Line = dict[str, float]


def learning_curves(steps: Sequence[Line], evaluations: Sequence[Line], name: str = "") -> Figure:
    """Training loss, and training and validation errors in per cent, over epochs; a dotted line at each drop of the
    learning rate.

    `steps` have `epoch`, `loss`, `learning_rate` and perhaps `train_top1_error`; `evaluations` have `epoch`,
    `top1_error`, `top5_error`, as in `metrics.jsonl`.
    """
    figure = Figure(figsize=(WIDTH, 3.1), dpi=DPI)
    left, right = figure.subplots(1, 2)
    fell = drops(*(np.array([step[key] for step in steps]) for key in ("epoch", "learning_rate")))
    plot_loss(left, steps)
    plot_errors(right, steps, evaluations)
    for axes, title in ((left, "training loss"), (right, "error, per cent")):
        axes.set_title(title, size=8.5, color=INK, loc="left", pad=20)
        epoch_axis(axes)
        tidy(axes)
        for epoch, rate in fell:
            axes.axvline(epoch, color=FAINT, linewidth=0.7, linestyle=":", zorder=0)
            if axes is left:
                label_drop(axes, epoch, rate, steps)
        if axes.get_legend_handles_labels()[0]:
            legend_above(axes)
    if name:
        figure.suptitle(name, size=9, color=INK, x=0.01, ha="left")
    figure.set_layout_engine("tight")
    return figure


def plot_loss(axes: Axes, steps: Sequence[Line]) -> None:
    """The loss of each step, and smoothed."""
    if not steps:
        return
    epochs = np.array([step["epoch"] for step in steps])
    losses = np.array([step["loss"] for step in steps])
    axes.plot(epochs, losses, color=BLUE, linewidth=0.5, alpha=0.45, label="each step")
    axes.plot(
        *smoothed(np.stack([epochs, losses], 1), STEPS_IN_MEAN).T, color=DARK_BLUE, linewidth=1.4, label="smoothed"
    )
    top = max(np.quantile(losses, 0.995), losses[-1]) * 1.08
    axes.set(ylim=(0, top if math.isfinite(top) and top > 0 else 1))


def plot_errors(axes: Axes, steps: Sequence[Line], evaluations: Sequence[Line]) -> None:
    """Training top-1 error, smoothed and with dropout, and validation top-1 and top-5 error."""
    known = [(step["epoch"], 100 * step["train_top1_error"]) for step in steps if "train_top1_error" in step]
    if known:
        axes.plot(
            *smoothed(np.array(known), STEPS_IN_MEAN).T, color=FAINT, linewidth=0.9, label="top-1, training", zorder=1
        )
    epochs = [evaluation["epoch"] for evaluation in evaluations]
    dots = "." if len(epochs) < 40 else ""
    for key, label, colour in (
        ("top1_error", "top-1, validation", RED),
        ("top5_error", "top-5, validation", YELLOW),
    ):
        if epochs:
            errors = [100 * evaluation[key] for evaluation in evaluations]
            axes.plot(epochs, errors, color=colour, linewidth=1.4, marker=dots, markersize=4, label=label)
    axes.set(ylim=(0, 100))


def legend_above(axes: Axes) -> None:
    """The legend between title and axes, where it hides no curve."""
    style = {"frameon": False, "fontsize": 6, "labelcolor": INK, "handlelength": 1.0, "columnspacing": 0.8}
    where = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "borderaxespad": 0.2}
    axes.legend(ncols=3, handletextpad=0.4, **where, **style).set_in_layout(False)


def label_drop(axes: Axes, epoch: float, rate: float, steps: Sequence[Line]) -> None:
    """The new learning rate to the left of the dotted line: above the curve, or below it where that leaves more room,
    and never in front of it."""
    first, last = axes.get_xlim()
    losses = [step["loss"] for step in steps if epoch - 0.08 * (last - first) < step["epoch"] < epoch]
    bottom, top = axes.get_ylim()
    is_above = not losses or top - np.quantile(losses, 0.9) >= np.quantile(losses, 0.1) - bottom
    style = {"size": 6, "color": FAINT, "rotation": 90, "ha": "right", "va": "top" if is_above else "bottom"}
    axes.annotate(
        f"learning rate {rate:.2g}",
        (epoch, 0.98 if is_above else 0.02),
        (-2.5, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        **style,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        zorder=1,
    )


def epoch_axis(axes: Axes) -> None:
    """Epochs along the horizontal axis, in whole numbers where there are several."""
    axes.set_xlabel("epochs", size=8, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def tidy(axes: Axes) -> None:
    """A light grid, no frame at the top and right, small numbers."""
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7, color=FAINT, labelcolor=INK)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT, linewidth=0.6)
