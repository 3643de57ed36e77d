"""The report: all claims in one table, then each with its numbers, its verdict, its figure and its command."""

import platform
from pathlib import Path
from typing import Any

import torch

from alexnet import __version__
from alexnet.reproduce.experiment import Evidence, Experiment, Found
from alexnet.reproduce.experiments import EXPERIMENTS
from alexnet.reproduce.ledger import Claim, Ledger
from alexnet.study import drawing
from alexnet.study.page import Block, Commands, Figure, Section, Table, write_report


def draw(experiment: Experiment, evidence: Evidence, found: Found, out: Path) -> str | None:
    """Draw an experiment's figure; its path below OUT, None where there is nothing to draw."""
    figure = experiment.draw(evidence, found)
    if figure is None:
        return None
    path = f"figures/{experiment.name}.png"
    drawing.save(figure, out / path)
    return path


def write(path: Path, ledger: Ledger, evidence: Evidence, out: Path) -> None:
    """Write the page."""
    claims = ledger["claims"]
    overview = Table(
        ("claim", "verdict", "here", "95 % interval", "paper"),
        [(c["title"], c["verdict"], effect(c), interval(c), c["paper"]) for c in claims],
        numeric=False,
    )
    write_report(
        path,
        title="AlexNet's claims, measured again",
        lead=lead(ledger, evidence),
        sections=[
            Section("All claims", (overview,)),
            *(Section(c["title"], blocks(c, EXPERIMENTS[c["name"]], evidence, out)) for c in claims),
        ],
        footer=f"alexnet {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}.",
    )


def lead(ledger: Ledger, evidence: Evidence) -> str:
    """What this is, in a few sentences."""
    return (
        f"Scale {ledger['scale']}: {evidence.scale.about}. {ledger['runs']} trained networks, {ledger['hours']:.1f} "
        f"hours of training, {ledger['date']}."
    )


def blocks(claim: Claim, experiment: Experiment, evidence: Evidence, out: Path) -> list[Block]:
    """The section of a claim."""
    del evidence
    made: list[Block] = [f"{claim['claim']} ({claim['section']})"]
    made.append(numbers(claim))
    made += list(claim["notes"])
    if claim["figure"]:
        made.append(Figure(out / claim["figure"], experiment.caption, experiment.caption))
    made.append(f"What differs from the paper: {claim['differs']}")
    made.append(Commands([(claim["command"], "The command:")]))
    return made


def numbers(claim: Claim) -> Table:
    """The comparisons of a claim."""
    rows = [
        (each["what"], effect(each), interval(each), seeds(each), each["verdict"]) for each in (claim, *claim["also"])
    ]
    return Table(("compared", "difference", "95 % interval", "seeds", "verdict"), rows, numeric=False)


def effect(claim: Any) -> str:
    return "" if claim["effect"] is None else f"{claim['effect']:.2f} {claim['unit']}"


def interval(claim: Any) -> str:
    return "" if claim["interval"] is None else f"{claim['interval'][0]:.2f} to {claim['interval'][1]:.2f}"


def seeds(claim: Any) -> str:
    return str(len(claim["arms"][0]["seeds"]))
