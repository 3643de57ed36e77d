"""Whole trainings side by side: the options mean what they say, and each runs at its smallest size."""

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scripts import run_script

from alexnet.files import lock
from alexnet.recipes import recipe
from benchmarks.accuracy import trainings
from benchmarks.accuracy.trainings import CONTENDERS, OURS, THEIRS, at_epochs, table


@pytest.mark.parametrize("which", OURS)
def test_a_recipe_at_its_own_length_is_unchanged_and_else_keeps_its_fractions(which: str) -> None:
    own = recipe(which)
    assert at_epochs(which, 90)[4:] == []
    options = at_epochs(which, own.epochs // 2)
    if own.schedule.drop_epochs:
        first = options.index("--schedule.drop-epochs") + 1
        assert float(options[first]) / (own.epochs // 2) == pytest.approx(
            own.schedule.drop_epochs[0] / own.epochs, abs=1e-4
        )
    assert options.count("--schedule.changes") == bool(own.schedule.changes)


def test_torchvisions_network_trains_and_is_tested_in_its_own_code(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(
                    tmp_path / split / label / f"{number}.png"
                )
    out = tmp_path / "result.json"
    options = "--epochs", 1, "--seeds", 1, "--only", THEIRS, "--device", "cpu", "--out", out
    said = run_script("benchmarks.accuracy.trainings", tmp_path, tmp_path / "runs", *options)
    found = json.loads(out.read_text())["trainings"]
    assert said.strip() == table(found) and f"| {THEIRS} | 1 |" in said
    result = found[THEIRS]["0"]
    assert result["ten views, top-1"] in (0, 25, 50, 75, 100) and result["ten views, top-5"] == 0
    assert result["seconds"] > 0 and result["images_per_second"] > 0


ERRORS = {f"{views}, top-{k}": 10.0 * k for views in ("ten views", "centre") for k in (1, 5)}
FOUND = ERRORS | {"seconds": 60.0, "images_per_second": 100.0}


def begin(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: object) -> dict[str, Any]:
    """Run the script in this process; what it wrote."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    out = folder / "result.json"
    monkeypatch.setattr(
        sys, "argv", ["trainings", *map(str, ("images", folder, "--out", out, "--device", "cpu", *options))]
    )
    trainings.main()
    return json.loads(out.read_text())["trainings"]


def test_an_interruption_loses_no_training_and_none_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, str]] = []

    def made(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
        taken.append((seed, name))
        if (seed, name) == (0, "alexnet caffe") and taken.count((seed, name)) == 1:
            raise OSError("the disk is gone")
        return FOUND

    monkeypatch.setattr(trainings, "made", made)
    with pytest.raises(SystemExit, match="the disk is gone"):
        begin(tmp_path, monkeypatch, "--seeds", 2)
    assert taken == [(seed, name) for seed in (0, 1) for name in CONTENDERS]
    found = begin(tmp_path, monkeypatch, "--seeds", 2)
    assert taken[8:] == [(0, "alexnet caffe")]
    assert {name: sorted(seeds) for name, seeds in found.items()} == {each: ["0", "1"] for each in CONTENDERS}
    with pytest.raises(SystemExit):
        begin(tmp_path, monkeypatch, "--epochs", 3)
    assert len(taken) == 9


def test_so_many_trainings_run_at_once_and_those_of_another_process_are_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3, timeout=30)

    def made(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
        together.wait()
        return FOUND

    monkeypatch.setattr(trainings, "made", made)
    with lock.hold(tmp_path / "busy" / f"{THEIRS}-0", "training"):
        found = begin(tmp_path, monkeypatch, "--seeds", 1, "--at-once", 3)
    assert all(found[name]["0"]["at_once"] == 3 for name in OURS.values()) and not found[THEIRS]


def test_ours_is_tested_with_its_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best ones were chosen by the images of the test."""
    there = tmp_path / "paper" / "0" / "checkpoints"

    def alexnet(command: str, *arguments: object) -> dict[str, Any]:
        if command == "train":
            for step in (100, 200):
                (there / f"step-{step:08d}").mkdir(parents=True)
            return {"images_per_second": 100.0}
        assert [each.name for each in there.iterdir()] == ["step-00000200"]
        return {"top1_error": 0.1, "top5_error": 0.02}

    monkeypatch.setattr(trainings, "alexnet", alexnet)
    options = argparse.Namespace(folder=tmp_path, epochs=90, device="cpu")
    found = trainings.made("alexnet paper", 0, options)
    assert found["centre, top-1"] == 10 and found["ten views, top-5"] == 2 and "resumed" not in found
    line = table({"alexnet paper": {"0": found}, "alexnet caffe": {"0": FOUND | {"resumed": True}}})
    assert "| alexnet caffe | 1 | 10.0 % | 50.0 % | 10.0 % | 50.0 % | - | - |" in line
