"""How much of the processor other processes use."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexnet.native.processor import SPINS, Use, cores_of_others, use


@pytest.mark.parametrize(
    ("by_all", "by_this", "others"), [(3.0, 3.0, 0.0), (3.0, 1.0, 1.0), (2.0, 2.1, 0.0), (4.0, 0.0, 2.0)]
)
def test_what_is_not_by_this_process_is_by_others(by_all: float, by_this: float, others: float) -> None:
    assert cores_of_others(Use(10, 100, 50), Use(12, 100 + by_all, 50 + by_this)) == pytest.approx(others)


def test_a_busy_process_is_noticed() -> None:
    before = use()
    if before is None:
        pytest.skip("this system does not say how much its cores are used")
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1)
        after = use()
        assert after is not None
        assert cores_of_others(before, after) > 0.2
    finally:
        busy.kill()
        busy.wait()


def test_a_system_that_does_not_say_is_no_error(tmp_path: Path) -> None:
    assert use(tmp_path / "stat") is None


@pytest.mark.parametrize(
    ("given", "spins"), [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")]
)
def test_threads_of_a_command_wait_briefly_unless_the_user_says_otherwise(given: dict[str, str], spins: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment |= given | {"OMP_DISPLAY_ENV": "VERBOSE"}
    command = [sys.executable, "-m", "alexnet", "predict", "nowhere", "nothing.jpg"]  # loads torch and then fails
    said = subprocess.run(command, env=environment, capture_output=True, text=True).stderr
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("this OpenMP is not GNU's")
    assert f"GOMP_SPINCOUNT = '{spins}'" in said
