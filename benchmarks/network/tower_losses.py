"""Training losses of several runs in one image, and how far each pair of one process and two towers is apart.

    python -m benchmarks.network.tower_losses --out docs/images/towers.png runs/paper runs/paper-towers ...

Takes runs in pairs: one process's, then its two towers'.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def losses(run: Path) -> np.ndarray:
    """The loss of every step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return np.array([line["loss"] for line in lines if "learning_rate" in line])


def smoothed(values: np.ndarray, window: int = 20) -> np.ndarray:
    """Means over `window` steps."""
    return np.convolve(values, np.ones(window) / window, "valid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (one, two) in enumerate(zip(options.runs[::2], options.runs[1::2], strict=True)):
        colour = f"C{number}"
        a, b = losses(one), losses(two)
        a, b = a[: len(b)], b[: len(a)]  # the steps that both have made
        left.plot(smoothed(a), color=colour, lw=3, alpha=0.35, label=f"{one.name}: one process")
        left.plot(smoothed(b), color=colour, lw=1, label=f"{one.name}: two towers")
        apart = np.abs(a - b) / a
        right.semilogy(apart, color=colour, lw=0.8, label=one.name)
        print(
            f"{one.name}: last 50 steps {a[-50:].mean():.4f} and {b[-50:].mean():.4f}; relative difference of the "
            f"first 20 steps at most {apart[:20].max():.1e}, of all {apart.max():.1e}, in the mean {apart.mean():.1e}"
        )
    left.set(title="training loss, means of 20 steps", xlabel="steps", ylim=(0, None))
    right.set(title="relative difference of the losses", xlabel="steps")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
