"""Time several forms of the same work in turn, and measure the memory that they take."""

import contextlib
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alexnet.data.image import pixels
from alexnet.model.cpu import kernels
from alexnet.native.processor import cores
from alexnet.ranges import UsageError


@dataclass(frozen=True)
class Rate:
    """Units of work per second, over the rounds of a measurement."""

    median: float
    slowest: float
    fastest: float

    def times(self, factor: float) -> "Rate":
        """The same in units that are `factor` times smaller."""
        return Rate(self.median * factor, self.slowest * factor, self.fastest * factor)

    def beside(self, limit: "Rate", what: str) -> dict[str, Any]:
        """This rate of images, and the machine's limit, which `what` describes, as JSON values."""
        return {
            "images_per_second": self.median,
            "slowest": self.slowest,
            "fastest": self.fastest,
            "limit_images_per_second": limit.median,
            "fraction_of_limit": self.median / limit.median,
            "limit": what,
        }


SECONDS = 0.5
"""How long short work is repeated in each round, so that a moment's disturbance does not decide."""


def alternate(
    forms: Mapping[str, tuple[Callable[[], object], float]], rounds: int, seconds: float | None = None
) -> dict[str, Rate]:
    """Measure `forms` (each a function, and how many units of work one call is), one after the other in each round.

    A form is called once per round, or until `seconds` (default: `SECONDS`) have passed. Alternating spreads what
    disturbs the machine over all forms. One more round, before the first, is not counted: it compiles and allocates.

    Raises ValueError unless `rounds` is at least 1.
    """
    if rounds < 1:
        raise UsageError(f"--rounds is {rounds}; it must be at least 1.")
    least = SECONDS if seconds is None else seconds
    rates: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(rounds + 1):
        for name, (work, units) in forms.items():
            times, taken, began = 0, 0.0, time.perf_counter()
            while times == 0 or (taken < least and number > 0):
                work()
                times, taken = times + 1, time.perf_counter() - began
            if number > 0:
                rates[name].append(times * units / taken)
    return {name: Rate(statistics.median(found), min(found), max(found)) for name, found in rates.items()}


def waiting(work: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """A function that does `work` and waits until the device has finished it."""

    def both() -> None:
        work()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()

    return both


def forget_peak(device: torch.device) -> None:
    """Start a new measurement of `peak_memory`, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux


def peak_memory(device: torch.device) -> int:
    """The most bytes held at once: of main memory by this process, or of a GPU's by its tensors."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def machine(device: torch.device) -> dict[str, Any]:
    """The machine that the numbers were measured on."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "instruction_sets": instruction_sets(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def instruction_sets() -> dict[str, str]:
    """What the C++ for the network and for images is compiled for, and what PyTorch's own code uses, on this CPU."""
    images = pixels.library()
    return {
        "kernels": kernels.instruction_sets(),
        "images": images.instruction_set().decode() if images else "Pillow and libjpeg-turbo",
        "pytorch": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return platform.processor() or os.uname().machine
