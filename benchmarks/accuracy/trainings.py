"""Whole trainings side by side: this package's recipes, and torchvision's network by torchvision's recipe.

    python -m benchmarks.accuracy.trainings imagenette2-160 folder --out result.json

The images lie in `train/CLASS` and `val/CLASS`; `folder` receives a store and the runs. All see the same images for the
same number of epochs; where these are not a recipe's own, its drops of the learning rate move to the same fractions of
them. Seeds come one after the other, so that an interruption leaves whole comparisons; the same command resumes.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from alexnet.bench.measure import machine
from alexnet.recipes import recipe

OURS = {"paper": "alexnet paper", "original": "alexnet original", "caffe": "alexnet caffe"}
"""Recipes and what they are called in the results."""
THEIRS = "torchvision"
CONTENDERS = [*OURS.values(), THEIRS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder with train/CLASS and val/CLASS")
    parser.add_argument("folder", type=Path, help="folder for a store and for the runs")
    parser.add_argument("--epochs", type=int, default=90, help="passes over the training images")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each")
    parser.add_argument("--only", nargs="+", default=CONTENDERS, choices=CONTENDERS, metavar="NAME")
    parser.add_argument("--device", default="auto", help="cpu or cuda")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the results")
    options = parser.parse_args()
    result = json.loads(options.out.read_text()) if options.out.exists() else begun(options)
    if result["epochs"] != options.epochs:
        parser.error(f"{options.out} has trainings of {result['epochs']} epochs: choose another file.")
    for seed in range(options.seeds):
        for name in options.only:
            if str(seed) in result["trainings"].setdefault(name, {}):
                continue
            print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
            result["trainings"][name][str(seed)] = made(name, seed, options)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result["trainings"]))


def begun(options: argparse.Namespace) -> dict[str, Any]:
    """A result without trainings."""
    device = "cuda" if options.device == "auto" and torch.cuda.is_available() else options.device
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(torch.device("cpu" if device == "auto" else device)),
        "images": options.images.name,
        "epochs": options.epochs,
        "trainings": {},
    }


def made(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train and test one network: errors in per cent from the centre and from ten views, seconds of training, and
    training images per second."""
    if name == THEIRS:
        script = "-m", "benchmarks.accuracy.worker_torchvision", options.images, options.epochs, seed, options.device
        return answer(*script)
    (which,) = (each for each, called in OURS.items() if called == name)
    store, run = options.folder / "store", options.folder / which / str(seed)
    device = () if options.device == "auto" else ("--device", options.device)
    if not store.exists():
        alexnet("prepare", options.images, store)
    began = time.monotonic()
    trained = alexnet("train", store, run, *at_epochs(which, options.epochs), "--seed", seed, *device)
    found = {"seconds": time.monotonic() - began, "images_per_second": trained["images_per_second"]}
    for views, called in ((1, "centre"), (10, "ten views")):
        tested = alexnet("evaluate", run, "--data", store, "--views", views, *device)
        found |= {f"{called}, top-{k}": 100 * tested[f"top{k}_error"] for k in (1, 5)}
    return found


def at_epochs(which: str, epochs: int) -> list[str]:
    """Options of `alexnet train` for a recipe in so many epochs, everything at the same fractions of them."""
    config = recipe(which)
    options = ["--recipe", which, "--epochs", str(epochs)]
    if epochs < config.epochs - 1:  # `original` has 91, of which one more or less is no matter
        factor = epochs / config.epochs
        if config.schedule.drop_epochs:
            options += ["--schedule.drop-epochs", *(f"{each * factor:.3f}" for each in config.schedule.drop_epochs)]
        if config.schedule.changes:
            options += ["--schedule.changes", *(moved(each, factor) for each in config.schedule.changes)]
    return options


def moved(change: str, factor: float) -> str:
    """ "67 conv1 1e-5" at another epoch."""
    epoch, rest = change.split(maxsplit=1)
    return f"{float(epoch) * factor:.3f} {rest}"


def alexnet(*arguments: object) -> dict[str, Any]:
    """What a command of this package answers."""
    return answer("-m", "alexnet", *arguments, "--json")


def answer(*arguments: object) -> dict[str, Any]:
    """The JSON object that a Python program prints last."""
    done = subprocess.run([sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(trainings: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Means over seeds, with the standard deviation of errors, as Markdown."""
    columns = ("ten views, top-1", "ten views, top-5", "centre, top-1", "centre, top-5")
    lines = ["| | seeds | " + " | ".join(columns) + " | minutes | images/s |", "|---" * (len(columns) + 4) + "|"]
    for name, seeds in trainings.items():
        if seeds:
            values = list(seeds.values())
            cells = [in_per_cent([each[column] for each in values]) for column in columns]
            minutes, rate = (mean(each[key] for each in values) for key in ("seconds", "images_per_second"))
            lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} | {minutes / 60:.1f} | {rate:,.0f} |")
    return "\n".join(lines)


def in_per_cent(values: list[float]) -> str:
    """ "18.3 ± 0.4 %"; without a spread for a single one."""
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread} %"


if __name__ == "__main__":
    main()
