"""The ledger: all claims with what was measured, as one JSON file; verdicts follow from its numbers alone."""

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch

from alexnet import __version__
from alexnet.files import durable
from alexnet.reproduce.experiment import Comparison, Evidence, Experiment, Found, Side, paired
from alexnet.reproduce.results import Machine
from alexnet.reproduce.verdict import NOT_JUDGED, Judged, judge


class LedgerArm(TypedDict):
    """An arm: its seeds, and its value for each; lower is better."""

    name: str
    seeds: list[int]
    values: list[float]


class Claim(TypedDict):
    """A claim, what the paper and the program's log say, and what was measured."""

    name: str
    title: str
    section: str
    claim: str
    paper: str
    original: str
    what: str
    """What the values are."""
    unit: str
    arms: list[LedgerArm]
    """First the arm that the claim says is better, then the other, of the same seeds; then further ones."""
    effect: float | None
    """Mean of second minus first."""
    interval: list[float] | None
    """Its 95 % interval (paired t over seeds)."""
    images: int
    verdict: str
    also: list[dict[str, Any]]
    """Further comparisons: `what`, `unit`, `arms`, `effect`, `interval`, `images`, `verdict`."""
    measured: dict[str, Any]
    notes: list[str]
    differs: str
    command: str
    figure: str | None


class Ledger(TypedDict):
    """The content of `ledger.json`."""

    scale: str
    machine: list[Machine]
    """All machines that trained."""
    date: str
    versions: dict[str, str]
    runs: int
    missing: int
    hours: float
    """Hours of training in all results that count."""
    claims: list[Claim]


def compared(comparison: Comparison) -> dict[str, Any]:
    """A comparison with its verdict."""
    common, better, other = paired(comparison.better, comparison.other)
    judged = judge(better, other) if comparison.judged else Judged(None, None, NOT_JUDGED)
    return {
        "what": comparison.what,
        "unit": comparison.unit,
        "arms": [
            {"name": comparison.better.label, "seeds": common, "values": _rounded(better)},
            {"name": comparison.other.label, "seeds": common, "values": _rounded(other)},
            *(_arm(side) for side in comparison.further),
        ],
        "effect": judged.effect,
        "interval": list(judged.interval) if judged.interval else None,
        "images": comparison.images,
        "verdict": judged.verdict,
    }


def _arm(side: Side) -> LedgerArm:
    return {
        "name": side.label,
        "seeds": sorted(side.values),
        "values": _rounded([*dict(sorted(side.values.items())).values()]),
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]


def claim_of(experiment: Experiment, found: Found, command: str, figure: str | None) -> Claim:
    """The entry of an experiment."""
    return {  # type: ignore[return-value]
        "name": experiment.name,
        "title": experiment.title,
        "section": experiment.section,
        "claim": experiment.claim,
        "paper": experiment.paper,
        "original": experiment.original,
        **compared(found.main),
        "also": [compared(each) for each in found.also],
        "measured": dict(found.measured),
        "notes": list(found.notes),
        "differs": experiment.differs,
        "command": command,
        "figure": figure,
    }


def ledger_of(evidence: Evidence, claims: list[Claim], missing: int) -> Ledger:
    """The ledger of these claims."""
    results = list(evidence.done.values())
    machines: list[Machine] = []
    for result in results:
        if result["machine"] not in machines:
            machines.append(result["machine"])
    return {
        "scale": evidence.scale.name,
        "machine": machines,
        "date": max((result["date"] for result in results), default=datetime.date.today().isoformat()),
        "versions": {"alexnet": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "runs": len(results),
        "missing": missing,
        "hours": round(sum(result["seconds"] for result in results) / 3600, 2),
        "claims": claims,
    }


def write(path: Path, ledger: Ledger) -> None:
    """Write the ledger, whole or not at all."""
    durable.write_json(path, ledger)
