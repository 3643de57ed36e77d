"""The campaigns of `benchmarks/`, short."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
