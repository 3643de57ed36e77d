"""Draw the comparisons as bars: docs/images/speed.png.

    python -m benchmarks.speed_figure docs/images/speed.png

Draws the results that `results.py` names as the latest, or those of `--results FILE ...`: every section that has a
reference, which becomes a dashed line.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.comparison import OURS
from benchmarks.results import load_results

OUR_COLOUR, OTHER_COLOUR = "#0072b2", "#b0b0b0"
COLUMNS = 2
SHORT = 0.15  # of the width of a panel: the number stands beside a shorter bar, else in it
Rates = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--results", nargs="+", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    sections: dict[str, Any] = {}
    for file in arguments.results or []:
        sections |= json.loads(file.read_text(encoding="utf-8"))
    draw(sections or load_results()).savefig(arguments.image, dpi=110)


def draw(sections: dict[str, Any]) -> Figure:
    panels = [
        (f"{name}, {title}", rates, section["reference"])
        for name, section in sections.items()
        if "reference" in section
        for title, rates in section["results"].items()
        if section["reference"] in rates
    ]
    bars = [max(len(rates) for _, rates, _ in panels[at : at + COLUMNS]) for at in range(0, len(panels), COLUMNS)]
    figure = Figure(figsize=(11, sum(0.22 * count + 0.8 for count in bars)), layout="constrained")
    heights = {"height_ratios": [2 + count for count in bars]}
    grid = figure.subplots(len(bars), COLUMNS, squeeze=False, gridspec_kw=heights)
    for axes, panel in zip(grid.flat, panels, strict=False):
        draw_panel(axes, *panel)
    for axes in list(figure.axes)[len(panels) :]:
        axes.axis("off")
    first = next(iter(sections.values()))
    machine = first["machine"]
    dates = " and ".join(sorted({section["date"] for section in sections.values()}))
    figure.supxlabel(
        "Images per second: the bar is the median, the whisker the slowest and the fastest round. "
        f"{machine['processor']}, {machine['cores']} cores, PyTorch {machine['torch']}, {dates}.",
        fontsize=8,
    )
    return figure


def draw_panel(axes: Any, title: str, rates: Rates, reference: str) -> None:
    names = [name for name in rates if name != reference][::-1]  # the first on top
    medians = [rates[name]["median"] for name in names]
    whiskers = [
        [rates[name]["median"] - rates[name]["slowest"] for name in names],
        [rates[name]["fastest"] - rates[name]["median"] for name in names],
    ]
    colours = [OUR_COLOUR if name.startswith(OURS) else OTHER_COLOUR for name in names]
    axes.barh(names, medians, color=colours, xerr=whiskers, error_kw={"elinewidth": 0.8, "capsize": 2})
    axes.axvline(rates[reference]["median"], color="black", linestyle="--", linewidth=0.9)
    width = 1.05 * max(rate["fastest"] for rate in rates.values())
    axes.set_xlim(0, width)
    for row, name in enumerate(names):
        median = rates[name]["median"]
        beside = median < SHORT * width
        at = rates[name]["fastest"] if beside else 0.0
        colour = "white" if name.startswith(OURS) and not beside else "black"
        axes.text(at + 0.015 * width, row, f"{median:,.0f}", va="center", fontsize=7, color=colour)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(f"dashed: {reference}", fontsize=7)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
