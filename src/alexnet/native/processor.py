"""The processor that this process runs on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


SPINS = "2000"
"""Rounds that a thread waits for the others of a matrix multiplication before it gives up its core.

GNU's OpenMP waits 300,000, about a millisecond. Where another program has one of the cores, the threads then use up
their share by waiting, and one image took five times as long. With so few rounds it takes twice as long, and no longer
than before where nothing else runs (docs/speed.md, "Beside other programs").
"""


def wait_briefly() -> None:
    """Lets threads that wait give up their cores soon, unless the environment says how they wait.

    Only before OpenMP is loaded, that is before torch.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


class Use(NamedTuple):
    """How much the cores of this process have worked until one moment, in seconds since some time before."""

    at: float
    """The moment."""
    by_all: float
    """What all processes took of these cores, and what the machine beneath a virtual one took from them."""
    by_this: float
    """What this process and those that it has started and waited for took."""


def use(statistics: Path = Path("/proc/stat")) -> Use | None:
    """The use of this process's cores until now; None where the system does not say."""
    try:
        lines = statistics.read_text().splitlines()
        ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    except (OSError, AttributeError):  # not Linux
        return None
    ticks = 0
    for line in lines:
        core, *counts = line.split()
        if core in ours:
            user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, counts[:8])
            ticks += user + nice + system + interrupts + soft_interrupts + stolen
    return Use(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4]))


def cores_of_others(before: Use, after: Use) -> float:
    """How many of this process's cores others kept busy, on average between the two moments."""
    by_others = (after.by_all - before.by_all) - (after.by_this - before.by_this)
    return max(0.0, by_others / (after.at - before.at))
