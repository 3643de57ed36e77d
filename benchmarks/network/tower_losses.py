"""Training losses of one process beside those of two towers.

    python -m benchmarks.network.tower_losses --out towers.png runs/paper runs/paper-towers runs/original ...

Takes runs in pairs: one process, then two towers trained from the same weights, images and dropout masks. Draws the
losses and their relative difference, and prints that difference.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

WINDOW = 20  # steps of a moving average
FIRST, LAST = 20, 50  # steps whose losses are printed


def losses_of(run: Path) -> np.ndarray:
    """The loss of every step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return np.array([line["loss"] for line in lines if "learning_rate" in line])


def smoothed(values: np.ndarray) -> np.ndarray:
    """Moving average."""
    return np.convolve(values, np.ones(WINDOW) / WINDOW, "valid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (one, two) in enumerate(zip(arguments.runs[::2], arguments.runs[1::2], strict=True)):
        colour = f"C{number}"
        a, b = losses_of(one), losses_of(two)
        a, b = a[: len(b)], b[: len(a)]  # the steps that both have made
        left.plot(smoothed(a), color=colour, lw=3, alpha=0.35, label=f"{one.name}: one process")
        left.plot(smoothed(b), color=colour, lw=1, label=f"{one.name}: two towers")
        difference = np.abs(a - b) / a
        right.semilogy(difference, color=colour, lw=0.8, label=one.name)
        print(
            f"{one.name}: mean loss of the last {LAST} steps {a[-LAST:].mean():.4f} and {b[-LAST:].mean():.4f}; "
            f"relative difference at most {difference[:FIRST].max():.1e} in the first {FIRST} steps, "
            f"{difference.max():.1e} in all, {difference.mean():.1e} on average"
        )
    left.set(title=f"training loss, moving average of {WINDOW} steps", xlabel="step", ylim=(0, None))
    right.set(title="relative difference of the losses", xlabel="step")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
