"""What the comparisons share: forms of one work measured in turn, shown, and kept in a dated file."""

import argparse
import contextlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from alexnet.bench.measure import Rate, alternate, machine

Form = tuple[Callable[[], object], float]


def options(description: str | None, rounds: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each form is measured, in turn")
    parser.add_argument("--out", type=Path, help="JSON file to add the result to")
    return parser


def compare(title: str, forms: Mapping[str, Form], rounds: int, limit: str | None = "limit") -> dict[str, Any]:
    """Images per second of each form: median, slowest and fastest round, and the part of the limit's median."""
    rates = alternate(forms, rounds)
    print(f"\n{title}")
    for name, rate in rates.items():
        share = f"  {rate.median / rates[limit].median:6.0%} of the limit" if limit in rates and limit else ""
        print(f"  {name:44} {rate.median:9.1f} /s ({rate.slowest:.1f} to {rate.fastest:.1f}){share}", flush=True)
    return {name: _plain(rate) for name, rate in rates.items()}


def _plain(rate: Rate) -> dict[str, float]:
    return {"median": rate.median, "slowest": rate.slowest, "fastest": rate.fastest}


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def keep(
    out: Path | None,
    section: str,
    rounds: int,
    results: dict[str, Any],
    packages: list[str],
    missing: Mapping[str, str] | None = None,
    others: Mapping[str, str] | None = None,
) -> None:
    """Add a section to the file `out`, with machine, date, the versions of `packages` and `others`, and why those that
    are `missing` are."""
    versions = {name: version for name in packages if (version := _version(name))} | dict(others or {})
    entry = {
        "date": time.strftime("%Y-%m-%d"),
        "rounds": rounds,
        "machine": machine(torch.device("cpu")),
        "versions": versions,
        "results": results,
    }
    if missing:
        entry["missing"] = dict(missing)
    if out is None:
        print(json.dumps(entry))
        return
    before = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(before | {section: entry}, indent=1) + "\n", encoding="utf-8")
