"""Whole trainings side by side: this package's recipes, and torchvision's network by torchvision's recipe.

    python -m benchmarks.accuracy.trainings imagenette2-160 folder --out result.json

The images lie in `train/CLASS` and `val/CLASS`; `folder` receives a store, the runs, and the result of each training as
a file of its own. All see the same images for the same number of epochs; where these are not a recipe's own, its drops
of the learning rate move to the same fractions of them. All are tested as they are after their last epoch.

Seeds come one after the other, so that an interruption leaves whole comparisons; the same command resumes. With
`--at-once 4` four trainings share the machine, for a GPU that one alone does not fill: the times are then those of
trainings that share it. Several processes may work in one folder: none repeats what another does or has done.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from alexnet.bench.measure import machine
from alexnet.files import durable, lock
from alexnet.recipes import recipe
from alexnet.training import checkpoint

OURS = {"paper": "alexnet paper", "original": "alexnet original", "caffe": "alexnet caffe"}
"""Recipes and what they are called in the results."""
THEIRS = "torchvision"
CONTENDERS = [*OURS.values(), THEIRS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder with train/CLASS and val/CLASS")
    parser.add_argument("folder", type=Path, help="folder for a store, for the runs and for their results")
    parser.add_argument("--epochs", type=int, default=90, help="passes over the training images")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each")
    parser.add_argument("--only", nargs="+", default=CONTENDERS, choices=CONTENDERS, metavar="NAME")
    parser.add_argument("--at-once", type=int, default=1, help="trainings that share the machine")
    parser.add_argument("--device", default="auto", help="cpu or cuda")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the results")
    options = parser.parse_args()
    for each in results(options.folder).values():
        if each["epochs"] != options.epochs:
            parser.error(f"{options.folder} has trainings of {each['epochs']} epochs: choose another folder.")
    if options.only != [THEIRS]:
        with lock.wait(options.folder):
            if not (options.folder / "store").exists():
                alexnet("prepare", options.images, options.folder / "store")
    with ThreadPoolExecutor(options.at_once) as pool:
        work = [
            pool.submit(take, name, seed, options)  # in this order
            for seed in range(options.seeds)
            for name in options.only
        ]
        try:
            failures = [str(error) for each in work if (error := each.exception())]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(table(assembled(options)))
    if failures:
        sys.exit("\n".join(failures))


def take(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train and test one network, unless that is done or another process is at it, and write what was found."""
    file = options.folder / "results" / f"{name.replace(' ', '-')}-{seed}.json"
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock.hold(options.folder / "busy" / file.stem, "training"))
        except ValueError:  # another process is at it
            return
        if file.exists():
            return
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        about = {"name": name, "seed": seed, "epochs": options.epochs, "at_once": options.at_once}
        write(file, about | made(name, seed, options))
    assembled(options)


def results(folder: Path) -> dict[tuple[int, str], dict[str, Any]]:
    """What each training found, by its seed and its name, in the order of the trainings."""
    found = [json.loads(file.read_text()) for file in (folder / "results").glob("*.json")]
    found.sort(key=lambda each: (each["seed"], CONTENDERS.index(each["name"])))
    return {(each["seed"], each["name"]): each for each in found}


def assembled(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Put the results of all trainings that are done into one file; by name and seed."""
    device = "cuda" if options.device == "auto" and torch.cuda.is_available() else options.device
    trainings: dict[str, dict[str, Any]] = {name: {} for name in CONTENDERS}
    for (seed, name), found in results(options.folder).items():
        trainings[name][str(seed)] = {key: value for key, value in found.items() if key not in ("name", "seed")}
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(torch.device("cpu" if device == "auto" else device)),
        "images": options.images.name,
        "epochs": options.epochs,
    }
    write(options.out, about | {"trainings": trainings})
    return trainings


def write(file: Path, contents: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    durable.write_json(file, contents)


def made(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Train and test one network: errors in per cent from the centre and from ten views, seconds of training, and
    training images per second."""
    if name == THEIRS:
        script = "-m", "benchmarks.accuracy.worker_torchvision", options.images, options.epochs, seed, options.device
        return answer(*script)
    (which,) = (each for each, called in OURS.items() if called == name)
    store, run = options.folder / "store", options.folder / which / str(seed)
    device = () if options.device == "auto" else ("--device", options.device)
    resumed, began = run.exists(), time.monotonic()
    trained = alexnet("train", store, run, *at_epochs(which, options.epochs), "--seed", seed, *device)
    found = {"seconds": time.monotonic() - began, "images_per_second": trained["images_per_second"]}
    found |= {"resumed": True} if resumed else {}  # then the times are of the last part
    for other in checkpoint.checkpoints(run)[:-1]:  # the best was chosen by the images of the test
        shutil.rmtree(other.path)
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


def table(trainings: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Means over seeds, with the standard deviation of errors, as Markdown."""
    columns = ("ten views, top-1", "ten views, top-5", "centre, top-1", "centre, top-5")
    lines = ["| | seeds | " + " | ".join(columns) + " | minutes | images/s |", "|---" * (len(columns) + 4) + "|"]
    for name, seeds in trainings.items():
        if seeds:
            values = list(seeds.values())
            cells = [in_per_cent([each[column] for each in values]) for column in columns]
            timed = [each for each in values if "resumed" not in each]
            minutes = f"{mean(each['seconds'] for each in timed) / 60:.1f}" if timed else "-"
            rate = f"{mean(each['images_per_second'] for each in timed):,.0f}" if timed else "-"
            lines.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} | {minutes} | {rate} |")
    return "\n".join(lines)


def in_per_cent(values: list[float]) -> str:
    """ "18.3 ± 0.4 %"; without a spread for a single one."""
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread} %"


if __name__ == "__main__":
    main()
