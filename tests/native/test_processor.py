"""How much of the processor other processes use."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexnet.native.processor import Use, cores_of_others, use


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
