"""Feed damaged files of every format to what reads them; each must be read or refused with a reason.

    python -m campaigns.fuzz --inputs 110000 --seed 0

Files of thirteen formats (`formats/`) are made whole and then damaged: bits, bytes and numbers changed, parts deleted,
repeated, inserted and joined. In half of the PNG, tar and store.json inputs the file's own checksums are corrected
afterwards, since a wrong one would keep the damage from the reader. Each input goes the way by which the package reads
such a file.

Failures are: an exception other than a plain ValueError, a process that dies or takes more than `--memory` GiB beyond
its start, and more than `--patience` seconds of a processor for one input, or thirty times as long without an answer:
other work on the machine makes no failure. Each is reported with the number of its input. Seed, format
and number make the same bytes again: `--only FORMAT NUMBER` writes them to ./input. Exits with 0 without failures;
`--json` prints one object.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Self

from campaigns.fuzz.damage import make_input
from campaigns.fuzz.formats import FORMATS
from campaigns.machine import describe_machine

CONTEXT = multiprocessing.get_context("forkserver")
INPUTS_PER_PROCESS = 1000
POLL = 0.01  # seconds between two looks at the processes
WAITS = 30  # times the patience: how long a process may sleep, or wait for a processor
REFUSALS = {"ValueError", "DamagedError"}
"""Names of exceptions that may refuse a file."""


class Limits(NamedTuple):
    """What reading may take."""

    gib: float
    """Memory of a process beyond its start, in GiB."""
    patience: float
    """Seconds of a processor for one input."""


class Report(NamedTuple):
    """What a process found."""

    counts: dict[str, int]
    """How many inputs were `read` and `refused`."""
    failures: list[list[Any]]
    """Format, number and reason of each."""
    slowest: float
    """Seconds of a processor for one input, at most."""
    peak_bytes: int
    """Resident memory beyond the start of the process, at most."""


@dataclass
class Tally:
    """What is known of a format so far."""

    counts: Counter[str] = field(default_factory=lambda: Counter({"read": 0, "refused": 0}))
    slowest: float = 0.0
    peak_bytes: int = 0

    def add(self, report: Report) -> None:
        self.counts.update(report.counts)
        self.slowest = max(self.slowest, report.slowest)
        self.peak_bytes = max(self.peak_bytes, report.peak_bytes)

    def summary(self) -> dict[str, Any]:
        return {**self.counts, "slowest_seconds": round(self.slowest, 3), "peak_bytes": self.peak_bytes}


@dataclass
class Reader:
    """A process that reads inputs `numbers` of a format."""

    name: str
    numbers: range
    process: BaseProcess
    current: Any
    """Shared: the number of the input that it reads; -1 before the first."""
    receiver: Connection
    seen: int = -1
    since: tuple[float, float] = field(default_factory=lambda: (time.monotonic(), 0.0))
    """When `current` became `seen`, and the processor's seconds of the process then."""

    @classmethod
    def start(cls, name: str, numbers: range, seed: int, gib: float) -> Self:
        current = CONTEXT.Value("q", -1, lock=False)
        receiver, sender = CONTEXT.Pipe(False)
        process = CONTEXT.Process(target=read_inputs, args=(name, seed, numbers, gib, current, sender))
        process.start()
        sender.close()
        return cls(name, numbers, process, current, receiver)

    def report(self) -> Report | None:
        """What it found, once it is done; None before, and for ever if it dies."""
        if self.receiver.poll():
            try:
                found = self.receiver.recv()
            except EOFError:
                self.process.join()
                return None
            self.process.join()
            return found
        return None

    def trouble(self, patience: float) -> str | None:
        """Why its current input is a failure, None while all is well. A process in trouble is ended."""
        now = time.monotonic(), processor_seconds(self.process.pid)
        if self.current.value != self.seen:
            self.seen, self.since = self.current.value, now
        waited, worked = (b - a for a, b in zip(self.since, now, strict=True))
        hangs = worked > patience or waited > WAITS * patience
        if self.process.is_alive() and not hangs:
            return None
        self.process.kill()
        self.process.join()
        return "takes too long" if hangs else f"the process ended with {self.process.exitcode}"

    def remaining(self) -> list[tuple[str, range]]:
        """Its inputs without the current one; those before it too, since their counts died with the process."""
        at = self.current.value
        parts = range(self.numbers.start, at), range(at + 1, self.numbers.stop)
        return [(self.name, part) for part in parts if part]


def read_inputs(name: str, seed: int, numbers: range, gib: float, current: Any, answer: Connection) -> None:
    """Read the inputs `numbers` of a format, put the number of each into `current`, and send a Report."""
    form = FORMATS[name]
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (readers warn about damaged files)
    warnings.simplefilter("ignore")
    examples = form.examples()
    counts, failures, slowest = Counter(), [], 0.0
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        form.read(examples[0], Path(folder))  # imports and allocates what any file needs
        limit = memory("VmSize") + int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        before = memory("VmHWM")
        for number in numbers:
            current.value = number
            data, began = make_input(form, examples, seed, number), time.process_time()
            try:
                form.read(data, Path(folder))
                counts["read"] += 1
            except Exception as error:
                counts["refused"] += 1
                if type(error).__name__ not in REFUSALS:
                    failures.append([name, number, f"{type(error).__name__}: {error}"[:300]])
            slowest = max(slowest, time.process_time() - began)
        answer.send(Report(dict(counts), failures, slowest, memory("VmHWM") - before))


def processor_seconds(pid: int | None) -> float:
    """What a process has used of the processors, with its system calls; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(field: str) -> int:
    """Bytes of this process: VmSize (address space) or VmHWM (most resident so far)."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024


def jobs_for(inputs: int) -> Iterator[tuple[str, range]]:
    """Formats and numbers of inputs, a process each: at least `inputs` in all, shared as the formats say."""
    total = sum(form.share for form in FORMATS.values())
    for name, form in FORMATS.items():
        count = -(-inputs * form.share // total)
        for first in range(0, count, INPUTS_PER_PROCESS):
            yield name, range(first, min(first + INPUTS_PER_PROCESS, count))


def campaign(inputs: int, seed: int, workers: int, limits: Limits) -> dict[str, Any]:
    """All of it: the result in numbers, with every failure.

    Raises RuntimeError where an undamaged file cannot be read.
    """
    CONTEXT.set_forkserver_preload(["campaigns.fuzz.formats"])
    began, jobs = time.monotonic(), list(jobs_for(inputs))
    tallies = {name: Tally() for name in FORMATS}
    failures: list[list[Any]] = []
    running: list[Reader] = []
    while jobs or running:
        while jobs and len(running) < workers:
            running.append(Reader.start(*jobs.pop(0), seed, limits.gib))
        time.sleep(POLL)
        for reader in list(running):
            if report := reader.report():
                tallies[reader.name].add(report)
                failures += report.failures
            elif trouble := reader.trouble(limits.patience):
                number = reader.current.value
                print(f"{reader.name} {number}: {trouble}", file=sys.stderr, flush=True)
                if number < 0:
                    raise RuntimeError(f"{reader.name}: an undamaged file cannot be read: {trouble}")
                failures.append([reader.name, number, trouble])
                tallies[reader.name].counts["failed"] += 1
                jobs[:0] = reader.remaining()
            else:
                continue
            running.remove(reader)
    return {
        "inputs": sum(tally.counts.total() for tally in tallies.values()),
        "seed": seed,
        "failures": failures,
        "formats": {name: tally.summary() for name, tally in tallies.items()},
        "slowest_seconds": round(max(tally.slowest for tally in tallies.values()), 3),
        "peak_bytes": max(tally.peak_bytes for tally in tallies.values()),
        "memory_limit_bytes": int(limits.gib * 2**30),
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe_machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=110_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=2.0, help="GiB that a process may take beyond its start")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds of a processor for one input")
    parser.add_argument("--only", nargs=2, metavar=("FORMAT", "NUMBER"), help="write this input to ./input and stop")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.only:
        name, number = args.only
        form = FORMATS[name]
        Path("input").write_bytes(make_input(form, form.examples(), args.seed, int(number)))
        return 0
    found = campaign(args.inputs, args.seed, args.workers, Limits(args.memory, args.patience))
    if args.json:
        print(json.dumps(found))
    else:
        for name, each in found["formats"].items():
            print(f"{name:>15}  {each}")
        for name, number, reason in found["failures"][:50]:
            print(f"FAILURE {name} {number}: {reason}")
        print({key: value for key, value in found.items() if key not in ("formats", "failures")})
    return 1 if found["failures"] else 0
