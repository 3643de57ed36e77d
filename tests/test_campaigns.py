"""The campaigns of `benchmarks/`, short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def campaign(name: str, *options: object) -> dict:
    """Run the script, which must succeed; its one JSON object."""
    command = [sys.executable, str(BENCHMARKS / name), *map(str, options), "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_a_training_killed_again_and_again_ends_with_the_same_bytes() -> None:
    found = campaign("kill_campaign.py", "--kills", 3, "--epochs", 4)
    assert found["kills"] == 3 == len(found["record"])
    assert found["equal_trainings"] == found["trainings"] > 0
    assert found["bytes_compared"] > 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads its memory from /proc")
def test_damaged_files_of_every_kind_are_read_or_refused() -> None:
    found = campaign("fuzz_campaign.py", "--inputs", 3000, "--workers", 2)
    assert found["inputs"] >= 3000 and found["failures"] == []
    assert len(found["kinds"]) == 10
    for name, counts in found["kinds"].items():
        assert counts["refused"] > counts["read"] / 4, name  # the damage is noticed
        assert counts["read"] > 0, name  # and not all of it is fatal
    assert found["worst_bytes"] < found["memory_limit_bytes"]


def test_the_same_seed_and_number_make_the_same_input(tmp_path: Path) -> None:
    made = []
    for seed in (0, 0, 1):
        command = [sys.executable, str(BENCHMARKS / "fuzz_campaign.py"), "--only", "png", "17", "--seed", str(seed)]
        subprocess.run(command, cwd=tmp_path, check=True)
        made.append((tmp_path / "input").read_bytes())
    assert made[0] == made[1] != made[2]
