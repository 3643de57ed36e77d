"""Draws docs/images/speed.png from a results file.

python -m benchmarks.speed_figure benchmarks/results/2026-11-25-epyc.json docs/images/speed.png
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

OURS, OTHERS = "#0072b2", "#b0b0b0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("image", type=Path)
    arguments = parser.parse_args()
    entries = json.loads(arguments.results.read_text(encoding="utf-8"))
    panels = [
        (f"{section}\n{title}", rates)
        for section, entry in entries.items()
        for title, rates in entry["results"].items()
        if "limit" in rates
    ]
    columns = 2
    rows = -(-len(panels) // columns)
    bars = [max(len(rates) for _, rates in panels[at : at + columns]) for at in range(0, len(panels), columns)]
    figure = Figure(figsize=(11, sum(0.22 * count + 0.7 for count in bars)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": [2 + count for count in bars]})
    for axes, (title, rates) in zip(grid.flat, panels, strict=False):
        draw(axes, title, rates)
    for axes in list(figure.axes)[len(panels) :]:
        axes.axis("off")
    first = next(iter(entries.values()))
    machine = first["machine"]
    figure.supxlabel(
        "Images per second: medians, slowest and fastest round; dashed: what the machine allows. "
        f"{machine['processor']}, {machine['cores']} cores, PyTorch {machine['torch']}, {first['date']}.",
        fontsize=8,
    )
    figure.savefig(arguments.image, dpi=110)


def draw(axes: Any, title: str, rates: dict[str, dict[str, float]]) -> None:
    limit = rates["limit"]["median"]
    names = [name for name in rates if name != "limit"][::-1]
    medians = [rates[name]["median"] for name in names]
    spread = [[r["median"] - r["slowest"] for r in map(rates.__getitem__, names)]]
    spread.append([r["fastest"] - r["median"] for r in map(rates.__getitem__, names)])
    colours = [OURS if name.startswith("ours") else OTHERS for name in names]
    axes.barh(names, medians, color=colours, xerr=spread, error_kw={"elinewidth": 0.8, "capsize": 2})
    axes.axvline(limit, color="black", linestyle="--", linewidth=0.9)
    for place, (name, median) in enumerate(zip(names, medians, strict=True)):
        colour = "white" if name.startswith("ours") else "black"
        axes.text(limit * 0.015, place, f"{median:,.0f}", va="center", fontsize=7, color=colour)
    axes.set_xlim(0, max(limit, *(r["fastest"] for r in rates.values())) * 1.05)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
