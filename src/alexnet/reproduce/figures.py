"""The figures of the report, drawn like the paper's. Functions take values and return a matplotlib `Figure`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alexnet.reproduce.arms import Arm
from alexnet.reproduce.experiment import Comparison, Evidence, Side
from alexnet.reproduce.results import Curves
from alexnet.study.curves import epoch_axis, tidy
from alexnet.study.drawing import DPI, FAINT, INK, RED, WIDTH, box, shorten

BLUE = "#1f4e8c"
SEED_COLOURS = ("#1f4e8c", "#c8391b", "#f0a202", "#4c8c4a", "#7a4fa3", "#777777")


def training_error_curves(curves: Mapping[str, Sequence[Curves]], labels: Mapping[str, str], target: float) -> Figure:
    """Figure 1: training error over epochs, with ReLU solid and with tanh dashed: the mean, and each seed in grey."""
    figure = Figure(figsize=(WIDTH * 0.75, 3.2), dpi=DPI)
    axes = figure.subplots()
    axes.axhline(target, color=FAINT, linewidth=0.6, zorder=0)
    longest = 0.0
    for which, style in (("relu", "-"), ("tanh", (0, (4, 2)))):
        lines = [np.array(each["train_top1_error"]) for each in curves[which]]
        for each, errors in zip(curves[which], lines, strict=True):
            epochs = np.arange(1, len(errors) + 1) / each["parts"]
            axes.plot(epochs, errors, color="#bbbbbb", linewidth=0.5, zorder=1)
            longest = max(longest, float(epochs[-1]))
        if lines:
            shortest = min(map(len, lines))
            mean = np.mean([errors[:shortest] for errors in lines], axis=0)
            epochs = np.arange(1, shortest + 1) / curves[which][0]["parts"]
            axes.plot(epochs, mean, color="black", linewidth=1.1, linestyle=style, label=labels[which])  # type: ignore[arg-type]
    axes.set(ylim=(0, 0.75), xlim=(0, longest))
    epoch_axis(axes)
    axes.set_ylabel("training error", size=8, color=INK)
    axes.legend(frameon=False, fontsize=7, loc="upper right")
    axes.tick_params(labelsize=7, color=FAINT, labelcolor=INK)
    figure.set_layout_engine("tight")
    return figure


def dots(comparisons: Sequence[Comparison]) -> Figure | None:
    """A field for each comparison, a row in it for each arm: a dot is the value of a seed, lines join those of a seed,
    a red bar is the mean. None where no comparison has a value."""
    shown = [(each, _sides(each)) for each in comparisons if _sides(each)]
    if not shown:
        return None
    heights = [0.62 + 0.24 * len(sides) for _, sides in shown]
    longest = max(len(side.label) for _, sides in shown for side in sides)
    left, edge = 0.15 + 0.062 * min(longest, LONGEST), 0.15  # inches
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.1), dpi=DPI)
    top = sum(heights) + 0.1
    for (comparison, sides), height in zip(shown, heights, strict=True):
        _dots_of(box(figure, left, top - height + 0.3, WIDTH - left - edge, height - 0.62), comparison, sides)
        unit = "per cent" if comparison.unit == "points" else comparison.unit
        words = f"{comparison.what}, {unit}"
        figure.text(0.1 / WIDTH, (top - 0.2) / (sum(heights) + 0.1), words, size=7.5, color=INK, weight="bold")
        top -= height
    return figure


LONGEST = 42
"""Letters of an arm's name in a figure."""


def _sides(comparison: Comparison) -> list[Side]:
    return [side for side in (comparison.better, comparison.other, *comparison.further) if side.values]


def _dots_of(axes: Axes, comparison: Comparison, sides: Sequence[Side]) -> None:
    for seed in sorted({seed for side in sides for seed in side.values}):
        places = [i for i, side in enumerate(sides) if seed in side.values]
        values = [sides[i].values[seed] for i in places]
        axes.plot(values, places, color="#cccccc", linewidth=0.7, zorder=1)
        axes.plot(values, places, "o", color=BLUE, markersize=3.5, zorder=2)
    for i, side in enumerate(sides):
        middle = float(np.mean(list(side.values.values())))
        axes.plot([middle, middle], [i - 0.3, i + 0.3], color=RED, linewidth=1.4, zorder=3)
    axes.set_yticks(range(len(sides)), [shorten(side.label, LONGEST) for side in sides])
    axes.set_ylim(len(sides) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    tidy(axes)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", labelsize=7, length=0)


def learning_curves(evidence: Evidence, arms: Mapping[str, Arm]) -> Figure | None:
    """Top-1 error over epochs: on training batches dashed, on validation images solid. A colour for each arm, a line
    for each seed. None where no arm has a result."""
    shown = {label: _curves(evidence, arm) for label, arm in arms.items()}
    if not any(shown.values()):
        return None
    figure, axes = _plot("top-1 error, per cent")
    for (label, curves), colour in zip(shown.items(), SEED_COLOURS, strict=False):
        for number, each in enumerate(curves):
            training = 100 * np.array(each["train_top1_error"]).reshape(-1)
            whole = training[: len(training) // each["parts"] * each["parts"]].reshape(-1, each["parts"]).mean(axis=1)
            epochs = np.arange(1, len(whole) + 1)
            axes.plot(epochs, whole, color=colour, linewidth=0.9, linestyle=(0, (4, 2)))
            name = label if number == 0 else None
            axes.plot(each["epochs"], 100 * np.array(each["top1_error"]), color=colour, linewidth=1.3, label=name)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=7, loc="upper right")
    return figure


def loss_curves(evidence: Evidence, arms: Mapping[str, Arm]) -> Figure | None:
    """Training loss over epochs; a colour for each arm, a line for each seed. None where no arm has a result."""
    shown = {label: _curves(evidence, arm) for label, arm in arms.items()}
    if not any(shown.values()):
        return None
    figure, axes = _plot("training loss")
    for (label, curves), colour in zip(shown.items(), SEED_COLOURS, strict=False):
        for number, each in enumerate(curves):
            epochs = np.arange(1, len(each["train_loss"]) + 1) / each["parts"]
            name = label if number == 0 else None
            axes.plot(epochs, each["train_loss"], color=colour, linewidth=1.1, label=name)
    axes.legend(frameon=False, fontsize=7, loc="upper right")
    return figure


def _curves(evidence: Evidence, arm: Arm) -> list[Curves]:
    return [each["curves"] for each in evidence.of(arm).values()]


def _plot(what: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH * 0.75, 3.2), dpi=DPI)
    axes = figure.subplots()
    epoch_axis(axes)
    axes.set_ylabel(what, size=8, color=INK)
    tidy(axes)
    figure.set_layout_engine("tight")
    return figure, axes
