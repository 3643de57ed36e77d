"""Whole trainings side by side: the options mean what they say, and each runs at its smallest size."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scripts import run_script

from alexnet.recipes import recipe
from benchmarks.accuracy.trainings import OURS, THEIRS, at_epochs, table


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
