"""The figure of `alexnet compare`: similarity of all layers with all, and of layers of the same name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet.study.compare_tables import GROUPS, groups, label
from alexnet.study.curves import DARK_BLUE, YELLOW, legend_above, tidy
from alexnet.study.drawing import DPI, FAINT, INK, RED, WIDTH, box, shorten
from alexnet.study.similarity import MEASURES

COLOURS = {"cka": DARK_BLUE, "rsa_correlation": RED, "rsa_cosine": YELLOW}
STYLES = {"across": "-", "within a": "--", "within b": ":"}
MATRICES = ("cka", "rsa_correlation")
"""The measures whose matrices are drawn; all are in the JSON."""
NUMBERED = 12
"""Layers up to which the values are written into a matrix."""


def figure(result: dict[str, Any]) -> Figure:
    """The matrices of the first group of pairs, averaged, and below the curves over layers, with the standard deviation
    over pairs. Of one run with itself, only the matrices."""
    alone = result["pairs"][0]["a"] == result["pairs"][0]["b"]
    left, gap, edge, head = 0.62, 0.62, 0.12, 0.56  # inches
    side = (WIDTH - 2 * left - gap - edge) / 2 + 0.2
    curves = 0.0 if alone else 2.25
    height = head + side + 0.68 + curves
    drawn = Figure(figsize=(WIDTH, height), dpi=DPI)
    shown = next(iter(groups(result["runs"], result["pairs"]).values()))
    rows, columns = (result["runs"][shown[0][which]] for which in ("a", "b"))
    same = [pair for pair in shown if layers_of(result, pair) == (rows["layers"], columns["layers"])]
    for number, measure in enumerate(MATRICES):
        axes = box(drawn, left + number * (side + gap), height - head - side, side, side)
        values = np.array([pair[measure] for pair in same], float).mean(0)
        matrix(axes, values, rows["layers"], columns["layers"])
        axes.set_title(MEASURES[measure], size=8.5, color=INK, loc="left")
        names = [name_of(result, same, which) for which in ("a", "b")]
        axes.set_ylabel(shorten(names[0], 40), size=7.5, color=INK)
        axes.set_xlabel(shorten(names[1], 40), size=7.5, color=INK)
    about = f"{result['compared_images']} images of '{result['split']}'"
    if len(same) > 1:
        about += f"; matrices: mean of {len(same)} pairs"
    drawn.text(0.01, 1 - 0.16 / height, about, size=8, color=FAINT, va="center")
    if not alone:
        plot_curves(box(drawn, left, 0.42, WIDTH - left - edge - 0.1, curves - 0.95), result)
    return drawn


def layers_of(result: dict[str, Any], pair: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The layers of both networks of a pair."""
    return result["runs"][pair["a"]]["layers"], result["runs"][pair["b"]]["layers"]


def name_of(result: dict[str, Any], pairs: Sequence[dict[str, Any]], which: str) -> str:
    """What stands beside a matrix: label and name of the run, or the labels of several."""
    numbers = list(dict.fromkeys(pair[which] for pair in pairs))
    if len(numbers) == 1:
        return f"{label(result['runs'], numbers[0])}: {Path(result['runs'][numbers[0]]['run']).name}"
    return ", ".join(label(result["runs"], number) for number in numbers)


def matrix(axes: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Similarities of layers with layers, from 0 (or the lowest, if that is negative) to 1."""
    axes.imshow(values, cmap="viridis", vmin=min(0.0, float(np.nanmin(values, initial=0))), vmax=1, origin="lower")
    axes.set_xticks(range(len(columns)), columns, size=6, color=INK, rotation=90)
    axes.set_yticks(range(len(rows)), rows, size=6, color=INK)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if max(values.shape) <= NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "white" if value < 0.6 else INK
                axes.text(column, row, f"{value:.2f}", size=4.8, color=colour, ha="center", va="center")


def plot_curves(axes: Axes, result: dict[str, Any]) -> None:
    """Similarity of layers of the same name over layers, a line for each measure and group of pairs."""
    for group, found in result["summary"].items():
        for measure, what in MEASURES.items():
            mean, sd = (np.array(found[measure][key], float) for key in ("mean", "sd"))
            x = np.arange(len(mean))
            name = what if group == "across" else None
            axes.plot(x, mean, color=COLOURS[measure], linestyle=STYLES[group], linewidth=1.4, marker=".",
                      markersize=4, label=name)  # fmt: skip
            if not np.isnan(sd).all():
                axes.fill_between(x, mean - sd, mean + sd, color=COLOURS[measure], alpha=0.15, linewidth=0)
    layers = next(iter(result["summary"].values()))["layers"]
    axes.set_xticks(
        range(len(layers)), layers, rotation=45 if len(layers) > 8 else 0, ha="right" if len(layers) > 8 else "center"
    )
    tidy(axes)
    drawn = [value for found in result["summary"].values() for m in MEASURES for value in found[m]["mean"] if value]
    axes.set_ylim(min(0.0, *drawn, 0.0), 1.02)
    axes.set_title("layers of the same name", size=8.5, color=INK, loc="left", pad=20)
    legend_above(axes)
    if len(result["summary"]) > 1:
        drawn_as = {"-": "solid", "--": "dashed", ":": "dotted"}
        lines = "; ".join(f"{drawn_as[STYLES[group]]}: {GROUPS[group]}" for group in result["summary"])
        above = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(lines, (1, 1), (0, 22), size=6.5, color=FAINT, ha="right", va="bottom", **above)  # type: ignore[arg-type]
