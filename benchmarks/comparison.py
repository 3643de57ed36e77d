"""What the comparisons share: contenders measured in turn, printed, and added to a file of dated results."""

import argparse
import contextlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from alexnet.bench.measure import Rate, alternate, machine

OURS = "alexnet"
"""Begins the name of what this package runs. No other contender runs any code of this package."""
Contender = tuple[Callable[[], object], float]
"""The work, and how many images it handles."""


def options(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with `--rounds` and `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each contender is measured, in turn")
    parser.add_argument("--out", type=Path, help="JSON file to add the results to; without it they are printed")
    return parser


def compare(
    title: str, contenders: Mapping[str, Contender], rounds: int, reference: str | None = None
) -> dict[str, dict[str, float]]:
    """Images per second of each contender: median, slowest and fastest round.

    Prints them as well, each median also as a fraction of the median of `reference`.
    """
    rates = alternate(contenders, rounds)
    print(f"\n{title}")
    for name, rate in rates.items():
        share = f"  {rate.median / rates[reference].median:6.0%} of {reference}" if reference in rates else ""
        print(f"  {name:44} {rate.median:9.1f} /s ({rate.slowest:.1f} to {rate.fastest:.1f}){share}", flush=True)
    return {name: _as_dict(rate) for name, rate in rates.items()}


def _as_dict(rate: Rate) -> dict[str, float]:
    return {"median": rate.median, "slowest": rate.slowest, "fastest": rate.fastest}


@dataclass
class Section:
    """One comparison in a file of results."""

    name: str
    rounds: int
    results: dict[str, Any]
    packages: Iterable[str] = ()
    """Distributions of this environment whose versions matter."""
    reference: str | None = None
    """The contender that is the dashed line of the figure: what the machine can do."""
    other_versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of what ran in other environments."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """What could not be measured, and why."""

    def entry(self) -> dict[str, Any]:
        """As JSON, with the date and the machine."""
        versions = {name: version for name in self.packages if (version := _version(name))}
        entry: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d"),
            "rounds": self.rounds,
            "machine": machine(torch.device("cpu")),
            "versions": versions | dict(self.other_versions),
        }
        if self.reference:
            entry["reference"] = self.reference
        entry["results"] = self.results
        if self.missing:
            entry["missing"] = dict(self.missing)
        return entry


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def add_results(out: Path | None, section: Section) -> None:
    """Add a section to the file `out`, or replace it there; without `out` print it."""
    entry = section.entry()
    if out is None:
        print(json.dumps(entry))
        return
    before = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(before | {section.name: entry}, indent=1) + "\n", encoding="utf-8")


def print_flatness(rates: Mapping[str, Mapping[str, float]]) -> None:
    """Print how far the slowest median is from the fastest."""
    medians = [rate["median"] for rate in rates.values()]
    print(f"  the slowest median is {min(medians) / max(medians):.0%} of the fastest", flush=True)
