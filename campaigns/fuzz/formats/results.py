"""Results of `alexnet reproduce` that were copied from another machine: the numbers of a run, read for the ledger."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.reproduce.arms import BASE, Data, Run
from alexnet.reproduce.experiments import EXPERIMENTS
from alexnet.reproduce.plan import DataSet, Plan, Planner
from alexnet.reproduce.rate import Rates
from alexnet.reproduce.reproduce import _write_ledger
from alexnet.reproduce.results import Results
from alexnet.reproduce.scales import scale
from campaigns.fuzz.format import Format
from campaigns.fuzz.odd_json import odd_file

CLASSES, IMAGES = 10, 24
ROLES: tuple[Data, ...] = ("cifar10", "images", "wider")
NUMBERS: dict[str, tuple[str, ...]] = {
    "ten_views": ("top1_error", "top5_error"),
    "light": ("top1_error", "top5_error"),
    "kernels": ("towers",),
    "similar": ("fc7_error", "pixels_error", "queries", "searched"),
    "strongest": ("conv1", "conv2", "conv3", "conv4", "conv5"),
}


def result_of(run: Run, measures: tuple[str, ...]) -> dict[str, Any]:
    """What might have been measured of a run."""
    errors = {"top1_error": 0.5, "top5_error": 0.1 + run.seed / 1000}
    many = [0.9, 0.7, 0.5]
    return {
        "version": 1,
        "identity": run.identity,
        "seed": run.seed,
        "label": run.arm.label,
        "settings": {},
        "data": {"role": run.arm.data, "identity": "", "classes": CLASSES, "size": 48, "train": 48, "val": IMAGES},
        "images": IMAGES,
        "centre": errors,
        "train": errors | {"loss": 1.0},
        "curves": {
            "epochs": [1, 2, 3],
            "top1_error": many,
            "top5_error": many,
            "loss": many,
            "parts": 3,
            "train_loss": many,
            "train_top1_error": many,
            "learning_rate": many,
        },
        "parameters": 9,
        "multiply_adds": 9,
        "epochs": 3.0,
        "steps": 9,
        "seconds": 1.0,
        "images_per_second": 9.0,
        "dtype": "float32",
        "versions": {},
        "date": "2026-01-01",
        "weights": "",
        "diverged": "",
        "machine": {"processor": "any", "cores": 2, "device": "cpu", "torch": "2", "python": "3"},
        "measures": {name: dict.fromkeys(NUMBERS.get(name, ()), 0.5) for name in measures},
    }


def arrays_of(measures: tuple[str, ...], seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found = {}
    if "outputs" in measures:
        found |= {"outputs": random.random((IMAGES, CLASSES), np.float32), "truths": np.arange(IMAGES) % CLASSES}
    if "kernels" in measures:
        found["kernels"] = random.random((8, 3, 11, 11), np.float32)
    return found


def plan_in(folder: Path) -> Plan:
    sets = {role: DataSet(48, CLASSES, "images") for role in ROLES}
    every = list(EXPERIMENTS.values())
    return Planner(scale("tiny"), sets, Results(folder / "results"), every, every).plan()


def write_results(folder: Path) -> Path:
    """All results of a reproduction, made up. Returns the file of one of them."""
    results = Results(folder / "results")
    while missing := plan_in(folder).missing():
        for item in missing:
            if item.run is not None:
                arrays = arrays_of(item.measures, item.run.seed)
                results.write(item.run, result_of(item.run, item.measures), arrays)  # type: ignore[arg-type]
    return results.path(plan_in(folder).evidence.runs[BASE, 1])


@cache
def file_in(folder: Path) -> Path:
    return write_results(folder)


@cache
def examples() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [write_results(Path(folder)).read_bytes()]


def read(data: bytes, folder: Path) -> None:
    file_in(folder).write_bytes(data)
    plan = plan_in(folder)
    Rates(scale("tiny"), "cpu").learn(list(plan.evidence.done.values()))
    _write_ledger(folder, plan, list(EXPERIMENTS.values()), [])


FORMAT = Format("results", 1, examples, read, make=lambda rng: odd_file(examples()[0], rng))
