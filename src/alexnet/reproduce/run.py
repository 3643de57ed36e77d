"""One run: trained into an ordinary run folder, then measured. What is measured needs the folder no more."""

import dataclasses
import datetime
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from alexnet import __version__
from alexnet.bench.measure import machine
from alexnet.data.store.reader import Store
from alexnet.model.cpu import kernels
from alexnet.model.layers import layers_of
from alexnet.reproduce.arms import Run
from alexnet.reproduce.measures import MEASURES, Trained, centre_errors, training_errors
from alexnet.reproduce.plan import multiply_adds
from alexnet.reproduce.results import VERSION, Curves, Machine, Result, Results
from alexnet.study import drawing
from alexnet.study.index import weights_digest
from alexnet.study.trained import load
from alexnet.training.device import choose_device, choose_dtype
from alexnet.training.loop import train
from alexnet.training.metrics import read_lines

PARTS = 10
"""Parts of an epoch that training loss and error are averaged over."""


def make(
    run: Run, measures: Sequence[str], store: Store, out: Path, train_images: int, device: str, workers: int
) -> Result:
    """Train a run in `OUT/runs`, or resume it there, measure it, and write its result."""
    folder, results = out / "runs" / run.name, Results(out / "results")
    config = dataclasses.replace(
        run.config,
        device=device,
        workers=workers,
        start_from=str(out / "runs" / run.start.name) if run.start else "",
        checkpoint=dataclasses.replace(run.config.checkpoint, every_epochs=max(1, run.config.epochs // 4)),
    )
    diverged, summary = "", dict[str, Any]()
    try:
        summary = train(store.path, folder, config)
    except FloatingPointError as error:
        diverged = str(error)
    result, arrays = _result(run, store, folder, summary, diverged, choose_device(device)), dict[str, np.ndarray]()
    if not diverged:
        net = load(folder, device, "last")
        trained = Trained(net, store, folder, run.seed)
        result["centre"] = cast(Any, centre_errors(trained))
        result["train"] = training_errors(trained, train_images)
        result["weights"] = weights_digest(net)
        for name in measures:
            found = MEASURES[name](trained)
            result["measures"][name] = found.numbers
            arrays |= found.arrays
            for panel, figure in found.panels.items():
                drawing.save(figure, results.panel_path(run, panel))
    results.write(run, result, arrays)
    return result


def _result(
    run: Run, store: Store, folder: Path, summary: dict[str, Any], diverged: str, device: torch.device
) -> Result:
    """All that is known before the trained network is looked at. A network that diverged guesses."""
    classes, rate = len(store.classes), summary.get("images_per_second") or 0.0
    steps_per_epoch = store.splits["train"] // run.config.batch_size
    chance = {"top1_error": 1 - 1 / classes, "top5_error": max(0.0, 1 - 5 / classes)}
    return {
        "version": VERSION,
        "identity": run.identity,
        "seed": run.seed,
        "label": run.arm.label,
        "settings": run.settings,
        "data": {
            "role": run.arm.data,
            "identity": run.data,
            "classes": classes,
            "size": store.size,
            "train": store.splits["train"],
            "val": store.splits["val"],
        },
        "images": store.splits["val"],
        "centre": cast(Any, chance),
        "train": dict(chance),
        "curves": curves(folder, steps_per_epoch),
        "parameters": sum(layer.parameters for layer in layers_of(run.config.network)),
        "multiply_adds": multiply_adds(run.config.network),
        "epochs": summary.get("epochs", 0.0),
        "steps": summary.get("steps", 0),
        "seconds": summary.get("steps", 0) * run.config.batch_size / rate if rate else 0.0,
        "images_per_second": rate,
        "dtype": str(choose_dtype(run.config.dtype, device)).removeprefix("torch."),
        "machine": cast(Machine, machine(device)),
        "versions": {"alexnet": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.date.today().isoformat(),
        "weights": "",
        "diverged": diverged,
        "measures": {},
    }


def curves(folder: Path, steps_per_epoch: int) -> Curves:
    """Losses and errors over the epochs, from the log of a run folder."""
    lines = read_lines(folder / "metrics.jsonl")
    steps = [line for line in lines if "evaluation" not in line]
    seen = [line for line in lines if line.get("evaluation") == "val"]
    width = steps_per_epoch / PARTS
    part = np.array([int((line["step"] - 1) / width) for line in steps], dtype=np.int64)
    return {
        "epochs": [line["epoch"] for line in seen],
        "top1_error": [_rounded(line["top1_error"]) for line in seen],
        "top5_error": [_rounded(line["top5_error"]) for line in seen],
        "loss": [_rounded(line["loss"]) for line in seen],
        "parts": PARTS,
        "train_loss": _means(part, [line["loss"] for line in steps]),
        "train_top1_error": _means(part, [line["train_top1_error"] for line in steps]),
        "learning_rate": _means(part, [line["learning_rate"] for line in steps]),
    }


def _means(part: np.ndarray, values: Sequence[float]) -> list[float]:
    """The mean of the values of each part. Where an epoch has fewer steps than parts, a part without one repeats the
    last."""
    means: list[float] = []
    numbers = np.array(values)
    for number in range(int(part.max()) + 1 if len(part) else 0):
        chosen = numbers[part == number]
        means.append(_rounded(float(chosen.mean())) if len(chosen) else means[-1] if means else float(numbers[0]))
    return means


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def prepare_to_compute() -> None:
    """What every command does before it computes."""
    kernels.reuse_memory()
