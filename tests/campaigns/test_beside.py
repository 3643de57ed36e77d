"""The campaign of a command beside a busy core, with a small network: what it measures, not how much."""

import os
import sys

import pytest

from campaigns.beside import campaign


@pytest.mark.skipif(sys.platform != "linux", reason="processes are bound to cores")
def test_a_command_is_measured_alone_and_beside() -> None:
    small = ["--rounds", "1", "--input-size", "63", "--width", "0.1"]
    found = campaign(set(sorted(os.sched_getaffinity(0))[:2]), ["one image"], ["the commands"], small)
    (row,) = found["rates"]
    assert row["alone"] > 0 and row["beside"] > 0 and found["kept"] == (row["kept"] >= 0.5)
