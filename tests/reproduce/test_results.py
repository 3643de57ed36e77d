"""Results that were copied from another machine: read, or refused by name, whatever a stranger wrote into them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiments import EXPERIMENTS
from alexnet.reproduce.reproduce import _write_ledger
from alexnet.reproduce.results import Results
from campaigns.fuzz.formats import results as made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a reproduction, made up."""
    folder = tmp_path_factory.mktemp("results")
    made.write_results(folder)
    return folder


def make_ledger(folder: Path) -> None:
    _write_ledger(folder, made.plan_in(folder), list(EXPERIMENTS.values()), [])


def put(result: dict[str, Any], where: str, value: Any) -> None:
    *above, last = where.split("/")
    for key in above:
        result = result[key]
    result[last] = value


@pytest.mark.parametrize(
    ("where", "value", "reason"),
    [
        ("measures/ten_views", 3, "measures is not an object"),
        ("measures/ten_views/top1_error", "low", "measures is 'low', not a number"),
        ("measures/ten_views/top1_error", math.nan, "not finite"),
        ("centre/top1_error", -0.5, "no fraction"),
        ("centre/top5_error", 10**400, "centre top5_error is"),
        ("train", {}, "no fraction"),
        ("train/loss", math.inf, "not finite"),
        ("curves/top1_error", [0.5], "different lengths"),
        ("curves/parts", 0, "different lengths"),
        ("data", {"role": "images"}, "data identity is missing"),
        ("machine", {"processor": []}, "machine processor is a list"),
        ("images_per_second", math.nan, "not finite"),
    ],
)
def test_what_cannot_have_been_measured_is_refused_by_name(whole: Path, where: str, value: Any, reason: str) -> None:
    file = made.plan_in(whole).evidence.results.path(made.plan_in(whole).evidence.runs[BASE, 1])
    before = file.read_text()
    result = json.loads(before)
    put(result, where, value)
    file.write_text(json.dumps(result))
    try:
        with pytest.raises(ValueError, match=rf"{file.name} is damaged \(.*{reason}.*: delete it to measure"):
            make_ledger(whole)
        assert len(list(Results(whole / "results").all())) > 50  # the others are read all the same
    finally:
        file.write_text(before)


def test_curves_that_are_empty_are_refused(whole: Path) -> None:
    file = made.plan_in(whole).evidence.results.path(made.plan_in(whole).evidence.runs[BASE, 1])
    before = file.read_text()
    result = json.loads(before)
    result["curves"] |= {key: [] for key in ("train_loss", "train_top1_error", "learning_rate")}
    file.write_text(json.dumps(result))
    with pytest.raises(ValueError, match="its curves are empty"):
        make_ledger(whole)
    file.write_text(before)


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("outputs", np.zeros((3, 4, 5)), "3, 4, 5"),
        ("outputs", np.full((made.IMAGES, made.CLASSES), np.nan), "not finite"),
        ("outputs", np.zeros((2, made.CLASSES)), "do not fit each other"),
        ("truths", np.full(made.IMAGES, 99), "do not fit each other"),
        ("truths", np.zeros(made.IMAGES, bool), "bool"),
    ],
)
def test_arrays_of_another_kind_are_refused(whole: Path, name: str, array: np.ndarray, reason: str) -> None:
    plan = made.plan_in(whole)
    run = next(item.run for item in plan.items if item.run and "outputs" in item.measures)
    file = plan.evidence.results.array_path(run, name)
    before = file.read_bytes()
    np.save(file, array)
    try:
        with pytest.raises(ValueError, match=reason):
            make_ledger(whole)
    finally:
        file.write_bytes(before)
