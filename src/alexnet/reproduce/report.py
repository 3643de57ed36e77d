"""The report: all claims in one table, then each with the paper's number, the verdict, the figure and the command."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from alexnet import __version__
from alexnet.config import TrainConfig
from alexnet.files import durable
from alexnet.reproduce.arms import differences
from alexnet.reproduce.experiment import Evidence, Experiment, Found
from alexnet.reproduce.experiments import EXPERIMENTS
from alexnet.reproduce.ledger import Claim, Ledger
from alexnet.reproduce.verdict import CONFIRMED, CONTRADICTED, NOT_JUDGED, UNRESOLVED
from alexnet.study import drawing
from alexnet.study.page import Block, Cell, Commands, Figure, Section, Table, write_report

RULE = (
    "Each arm is trained with several seeds. Arms are paired by seed: the same initial weights where the shapes of "
    "layers agree, the same images in the same order, the same crops and colours. The difference is that of the other "
    "arm minus the one that the claim says is better; its 95 % interval is that of a paired t test over the seeds. A "
    "claim is confirmed where the whole interval lies above zero, contradicted where it lies below, and not resolved "
    "at this scale otherwise. With fewer than three seeds there is no verdict."
)
CHOICES = (
    "No validation image chooses anything: every network trains for a fixed number of epochs, its learning rate drops "
    "at fixed ones, and its last checkpoint is tested, on all validation images. The learning rates of figure 1 are "
    "chosen by training error, by runs with a seed that judges nothing."
)


def draw(experiment: Experiment, evidence: Evidence, found: Found, out: Path) -> str | None:
    """Draw an experiment's figure; its path below OUT, None where there is nothing to draw."""
    figure = experiment.draw(evidence, found)
    if figure is None:
        return None
    path = f"figures/{experiment.name}.png"
    drawing.save(figure, out / path)
    return path


def write(path: Path, ledger: Ledger, evidence: Evidence, panels: Mapping[str, Mapping[str, str]], out: Path) -> None:
    """Write the page. `panels` are captions by the path of a panel below `results`, by claim."""
    claims = ledger["claims"]
    write_report(
        path,
        title="AlexNet's claims, measured again",
        lead=lead(ledger, evidence),
        sections=[
            Section("All claims", (overview(claims),)),
            *(Section(claim["title"], blocks(claim, panels.get(claim["name"], {}), out)) for claim in claims),
            Section("How claims are judged", (RULE, CHOICES)),
            Section("Conditions", conditions(ledger, evidence)),
        ],
        footer=f"alexnet {__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}.",
    )


def lead(ledger: Ledger, evidence: Evidence) -> str:
    """What this is, in a few sentences."""
    judged = [claim["verdict"] for claim in ledger["claims"]]
    counted = ", ".join(f"{judged.count(each)} {each}" for each in (CONFIRMED, CONTRADICTED, UNRESOLVED))
    left = f" {ledger['missing']} runs are still missing." if ledger["missing"] else ""
    warning = " These images and networks are far too small to measure anything." if ledger["scale"] == "tiny" else ""
    return (
        f'The claims of "ImageNet Classification with Deep Convolutional Neural Networks" (2012), measured again at '
        f"scale {ledger['scale']}: {evidence.scale.about}. {ledger['runs']} networks, {hours(ledger['hours'])} of "
        f"training, {ledger['date']}. Claims: {counted}.{left}{warning}"
    )


def hours(count: float) -> str:
    """A number of hours in words; minutes below one hour."""
    return f"{count:.1f} hours" if count >= 1 else f"{60 * count:.0f} minutes"


def overview(claims: Sequence[Claim]) -> Table:
    """All claims: their verdict, the effect here and the paper's."""
    rows = [
        (Cell(claim["title"], section=number), verdict(claim, short=True), effect(claim), claim["paper"])
        for number, claim in enumerate(claims, start=2)
    ]
    return Table(("claim", "verdict", "here (95 % interval)", "paper"), rows, numeric=False, stacked=True)


def verdict(judged: Any, short: bool = False) -> Cell:
    """The verdict in its colour; `short`: without where, for a narrow column."""
    tones: dict[str, Literal["good", "bad"]] = {CONFIRMED: "good", CONTRADICTED: "bad"}
    words = judged["verdict"].removesuffix(" at this scale") if short else judged["verdict"]
    return Cell(words, tones.get(judged["verdict"], "open"))


def blocks(claim: Claim, panels: Mapping[str, str], out: Path) -> list[Block]:
    """The section of a claim."""
    experiment = EXPERIMENTS[claim["name"]]
    made: list[Block] = [f"{claim['claim']} ({claim['section']})", beside(claim), compared(claim), *claim["notes"]]
    if claim["figure"]:
        made.append(Figure(out / claim["figure"], experiment.caption, experiment.caption))
    made += [Figure(out / "results" / path, caption, caption) for path, caption in panels.items()]
    if experiment.lesson:
        made.append(f"In a lesson: {experiment.lesson}")
    made.append(f"What differs from the paper's conditions: {claim['differs']}")
    made.append(Commands([(claim["command"], "The command:")]))
    return made


def beside(claim: Claim) -> Table:
    """The paper's number, the program's and ours."""
    count = len(claim["arms"][0]["seeds"])
    images = f", {claim['images']:,} images" if claim["images"] else ""
    here = f"{effect(claim)}; {count} seeds{images}" if claim["effect"] is not None else measured(claim)
    rows = [
        ("the paper", claim["paper"]),
        ("the original program's log", claim["original"] or "nothing about it"),
        ("here", here),
        ("verdict", verdict(claim)),
    ]
    return Table(("", claim["what"]), rows, numeric=False)


def measured(claim: Claim) -> str:
    """A value that stands for itself."""
    values = claim["arms"][0]["values"]
    if claim["verdict"] != NOT_JUDGED or not values:
        return "not measured yet"
    return f"{sum(values) / len(values):.3g} {claim['unit']}"


def compared(claim: Claim) -> Table:
    """All comparisons of a claim: the mean of each arm, and the difference."""
    rows = [
        (
            each["what"],
            *(f"{arm['name']}: {mean(arm)}" for arm in each["arms"][:2]),
            effect(each),
            verdict(each),
        )
        for each in (claim, *claim["also"])
    ]
    headings = ("compared (means over seeds)", "first", "second", "second minus first", "verdict")
    return Table(headings, rows, numeric=False, stacked=True)


def mean(arm: Any) -> str:
    """The mean of an arm's values over its seeds, in words."""
    return f"{sum(arm['values']) / len(arm['values']):.3g}" if arm["values"] else "not measured"


def effect(judged: Any) -> str:
    """The effect with its interval: "1.32 points (0.40 to 2.24)"."""
    if judged["effect"] is None:
        return ""
    interval = "" if judged["interval"] is None else " ({:.2f} to {:.2f})".format(*judged["interval"])
    return f"{judged['effect']:.2f} {judged['unit']}{interval}"


def conditions(ledger: Ledger, evidence: Evidence) -> list[Block]:
    """Images, settings, machines."""
    made: list[Block] = []
    seen = {result["data"]["role"]: result["data"] for result in evidence.done.values()}
    for role, data in sorted(seen.items()):
        name, base = evidence.scale.sets[role], evidence.scale.bases[role]
        settings = [(key, shown(value)) for key, value in differences(base, TrainConfig()).items()]
        made.append(
            f"{name}: {data['train']:,} training and {data['val']:,} validation images of {data['size']} pixels, "
            f"{data['classes']} classes. Settings that differ from the paper's training of ImageNet:"
        )
        made.append(Table(("setting", "value"), settings, numeric=False))
    machines = [
        (
            str(machine.get("processor") or machine.get("device")),
            str(machine.get("cores", "")),
            str(machine.get("device", "")),
            f"PyTorch {machine.get('torch', '')}, Python {machine.get('python', '')}",
        )
        for machine in ledger["machine"]
    ]
    made.append(Table(("machine", "cores", "device", "versions"), list(dict.fromkeys(machines)), numeric=False))
    return made


def shown(value: Any) -> str:
    """The value of a setting, in words."""
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def write_table(path: Path, ledger: Ledger) -> None:
    """Write `table_of` the ledger."""
    with durable.whole(path) as temporary:
        temporary.write_text(table_of(ledger), encoding="utf-8")


def table_of(ledger: Ledger) -> str:
    """All comparisons as a table in Markdown: the mean of each arm over its seeds, the difference, the verdict."""
    headings = ("claim: compared", "first", "second", "second minus first (95 % interval)", "paper", "verdict")
    rows = [headings, ("---",) * len(headings)]
    for claim in ledger["claims"]:
        for each in (claim, *claim["also"]):
            what, paper = (
                (f"**{claim['title']}**: {each['what']}", claim["paper"]) if each is claim else (each["what"], "")
            )
            if each is claim or each["effect"] is not None:
                arms = [f"{arm['name']}: {mean(arm)}" if arm["values"] else "" for arm in each["arms"][:2]]
                rows.append((what, *arms, effect(each), paper, each["verdict"]))
    return "".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |\n" for row in rows)
