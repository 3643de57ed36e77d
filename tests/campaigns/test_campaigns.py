"""The campaigns, short."""

import sys
from pathlib import Path

import pytest
from scripts import json_of, run_script


def test_a_training_killed_again_and_again_ends_with_the_same_bytes() -> None:
    found = json_of("campaigns.kill", "--kills", 3, "--epochs", 4)
    assert found["kills"] == 3 == len(found["record"])
    assert found["equal_trainings"] == found["trainings"] > 0
    assert found["bytes_compared"] > 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads its memory from /proc")
def test_damaged_files_of_every_kind_are_read_or_refused() -> None:
    found = json_of("campaigns.fuzz", "--inputs", 3000, "--workers", 2)
    assert found["inputs"] >= 3000 and found["failures"] == []
    assert len(found["kinds"]) == 10
    for name, counts in found["kinds"].items():
        assert counts["refused"] > counts["read"] / 4, name  # the damage is noticed
        assert counts["read"] > 0, name  # and not all of it is fatal
    assert found["worst_bytes"] < found["memory_limit_bytes"]


def test_the_same_seed_and_number_make_the_same_input(tmp_path: Path) -> None:
    made = []
    for seed in (0, 0, 1):
        run_script("campaigns.fuzz", "--only", "png", 17, "--seed", seed, folder=tmp_path)
        made.append((tmp_path / "input").read_bytes())
    assert made[0] == made[1] != made[2]
