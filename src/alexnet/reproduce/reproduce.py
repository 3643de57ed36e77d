"""`alexnet reproduce`: trains what is missing, and writes the ledger and the report.

OUT receives `runs/` (ordinary run folders), `results/` (what was measured of them, small enough to travel),
`ledger.json`, `figures/`, `table.md` and `report.html`. Interrupted, the same command resumes. Several processes may
share OUT, each with a share of its own.
"""

import contextlib
import dataclasses
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from rich.console import Group, RenderableType
from rich.text import Text

from alexnet.config import suggestion
from alexnet.demo.demo import one_thread
from alexnet.files import durable, lock
from alexnet.files.folders import check_folder
from alexnet.files.json_file import read_json
from alexnet.progress import duration
from alexnet.ranges import UsageError
from alexnet.reproduce import images, ledger, scales, timing
from alexnet.reproduce import report as page
from alexnet.reproduce.arms import Data
from alexnet.reproduce.experiment import Experiment, is_measured
from alexnet.reproduce.experiments import EXPERIMENTS
from alexnet.reproduce.plan import Item, Plan, Planner
from alexnet.reproduce.rate import Rates
from alexnet.reproduce.results import Results, has
from alexnet.reproduce.run import make, prepare_to_compute
from alexnet.reproduce.scales import Scale
from alexnet.study.tables import heading, table

SECONDS_BETWEEN_LOOKS = 5.0
HOURS_OF_A_DAY = 24


class Record(TypedDict):
    """The content of `OUT/reproduce.json`."""

    scale: str


def reproduce(
    out: Path,
    *,
    scale: str = "small",
    data: Sequence[str] = (),
    only: Sequence[str] = (),
    seeds: int | None = None,
    share: str = "1/1",
    device: str = "auto",
    workers: int = 0,
    plan: bool = False,
    report: bool = False,
    discard_runs: bool = False,
) -> dict[str, Any]:
    """Train and measure what the experiments still need, as far as it is this share's, then write ledger and report.

    `data` are stores, `NAME=STORE` with the names of the scale's data sets. `only` are names of experiments; none: all.
    `seeds` are those of each arm, from 0; None: as many as the scale has.
    `share` "2/4" is the second of four parts. `plan` trains nothing, nor does `report`, which writes ledger and report
    from the results that are there. With `discard_runs`, a run's folder is deleted once it is measured and no other run
    starts from it.

    Returns `out`, `scale`, `report`, `ledger`, `runs` (done), `missing`, `hours_left`, `claims` (`name`, `verdict`,
    `effect`, `interval`, `unit`, `paper`), `absent` (experiments without their data), `plan` and `spread` (the command
    for several GPUs).
    Raises ValueError for what is not known, does not fit or is damaged.
    """
    chosen, (part, parts), device = scales.scale(scale), share_of(share), device_of_rank(device)
    chosen = dataclasses.replace(chosen, seeds=seeds or chosen.seeds)
    experiments = experiments_of(only, chosen)
    check_out(out, chosen)
    rates = Rates(chosen, device)
    sets = images.sets_of(chosen, data, out)
    results = Results(out / "results")
    planner = Planner(chosen, sets, results, experiments, list(EXPERIMENTS.values()), part, parts)
    now = planner.plan()
    if plan or not any(each.store for each in sets.values()):
        return _answer(out, chosen, now, None, rates, data)
    claim_out(out, chosen)
    if report:
        return _answer(out, chosen, now, _write_ledger(out, now, experiments, data, report=True), rates, data)
    prepare_to_compute()
    say(*summary(now, rates, chosen))
    _time(chosen, sets, results, experiments, device, part)
    now = planner.plan()  # with what has just been timed
    began, done = time.monotonic(), 0
    while True:
        item = _next(now, out)
        if item is None or item.run is None:
            if not _waits(now, out):
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
            now = planner.plan()
            continue
        left = rates.seconds_left(now)
        say(f"run {len(now.items) - len(now.missing()) + 1} of {len(now.items)}: {item.experiment}, "
            f"{item.run.arm.label}, seed {item.run.seed}; this share has about {duration(left)} left")  # fmt: skip
        if _make(item, now, sets, out, chosen, device, workers):
            done += 1
        now = planner.plan()
        if discard_runs:
            _delete(item, now, out)
        _write_ledger(out, now, experiments, data)
    if done:
        say(f"{done} runs in {duration(time.monotonic() - began)}")
    claims = _write_ledger(out, now, experiments, data, report=True)
    return _answer(out, chosen, now, claims, rates, data)


def device_of_rank(device: str) -> str:
    """The device of this process: under torchrun a GPU, which it shares where there are more processes than GPUs."""
    gpus = torch.cuda.device_count()
    if device not in ("auto", "cuda") or gpus == 0 or "LOCAL_RANK" not in os.environ:
        return device
    return f"cuda:{int(os.environ['LOCAL_RANK']) % gpus}"


def share_of(text: str) -> tuple[int, int]:
    """(1, 4) from "2/4"; under torchrun each rank has its own. ValueError for anything else."""
    if text == "1/1" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        os.environ["WORLD_SIZE"] = "1"  # each run is trained by one rank alone
        return rank, ranks
    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError(f"--share {text} is not K/N, as in 2/4: the second of four parts.")
    return int(match[1]) - 1, int(match[2])


def experiments_of(only: Sequence[str], chosen: Scale) -> list[Experiment]:
    """The experiments of these names, in their order; without names, all that the scale is for. ValueError for an
    unknown one."""
    for name in only:
        if name not in EXPERIMENTS:
            raise UsageError(f"There is no experiment '{name}'; {suggestion(name, EXPERIMENTS)}")
    return [each for name, each in EXPERIMENTS.items() if name in (only or chosen.experiments or EXPERIMENTS)]


def check_out(out: Path, chosen: Scale) -> None:
    """ValueError where OUT cannot be made, or holds something else than a reproduction of this scale."""
    record = out / "reproduce.json"
    if not record.exists():
        check_folder(out)
        there = {each.name for each in out.iterdir()} if out.is_dir() else set()
        if there - {"results", "data"}:  # copied there, or drawn by a call that was interrupted
            raise ValueError(f"{out} is not empty and holds no reproduction: choose another folder.")
        return
    try:
        before = read_json(record, Record)["scale"]
    except ValueError as error:
        raise ValueError(f"{record} is damaged ({error}): delete it, and give the scale that {out} has.") from None
    if before != chosen.name:
        raise ValueError(f"{out} was begun with --scale {before}: give that, or choose another folder.")


def claim_out(out: Path, chosen: Scale) -> None:
    """Make OUT, and record its scale."""
    if not (out / "reproduce.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        durable.write_json(out / "reproduce.json", {"scale": chosen.name})


def say(*lines: str) -> None:
    """Lines on standard error."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def summary(plan: Plan, rates: Rates, chosen: Scale) -> list[str]:
    """The plan in lines: for each experiment its runs, those that are missing, and how long they take."""
    missing = plan.missing()
    lines = [f"scale {chosen.name}: {len(plan.items)} runs, {len(missing)} of them missing"]
    for name in dict.fromkeys(item.experiment for item in plan.items):
        left = [item for item in missing if item.experiment == name]
        all_of_them = [item for item in plan.items if item.experiment == name]
        took = duration(sum(map(rates.seconds, left)))
        lines.append(f"  {name}: {len(all_of_them)} runs, {len(left)} missing" + (f", about {took}" if left else ""))
    lines += [f"  {name}: needs --data {data}=STORE" for name, data in plan.absent.items()]
    mine = [item for item in missing if item.share == plan.share]
    lines.append(f"this share: {len(mine)} runs, about {duration(sum(map(rates.seconds, mine)))}")
    return lines


def _next(plan: Plan, out: Path) -> Item | None:
    """The next run of this share that no other process is making; None without one."""
    free = [item for item in plan.mine() if item.run and not lock.is_held(out / "busy" / item.run.name)]
    return free[0] if free else None


def _waits(plan: Plan, out: Path) -> bool:
    """Whether a run of this share depends on one that another process is making in OUT now."""
    known = {item.run.name for item in plan.mine() if item.run}
    mine = [item for item in plan.missing() if item.share == plan.share]
    later = [item for item in mine if not item.run or item.run.name not in known]
    return bool(later) and any(lock.is_held(folder) for folder in (out / "busy").glob("*/*"))


def _make(item: Item, plan: Plan, sets: dict[Data, Any], out: Path, chosen: Scale, device: str, workers: int) -> bool:
    """Make a run unless another process does; whether it was made."""
    assert item.run is not None
    store = sets[item.run.arm.data].store
    try:
        with lock.hold(out / "busy" / item.run.name, "alexnet reproduce"):
            before = plan.evidence.results.read(item.run)
            if before is None or not has(before, item.measures):
                with one_thread() if chosen.one_thread else contextlib.nullcontext():
                    make(item.run, item.measures, store, out, chosen.train_images, device, workers)
    except ValueError:
        if lock.is_held(out / "busy" / item.run.name):
            return False
        raise
    return True


def _time(
    chosen: Scale, sets: dict[Data, Any], results: Results, experiments: Sequence[Experiment], device: str, part: int
) -> None:
    """Measure the times that the experiments need and that are missing; the first share does."""
    there = timing.read(results.folder, chosen)
    for name in dict.fromkeys(name for each in experiments for name in each.timings):
        store = sets["images"].store if "images" in sets else None
        if part == 0 and name not in there and (store is not None or name not in timing.NEEDS_IMAGES):
            say(f"measuring {name}")
            timing.write(results.folder, timing.measure(name, chosen, store, device))


def _delete(item: Item, plan: Plan, out: Path) -> None:
    """Delete the folder of a run that is measured, and that of the run it started from, unless another needs it."""
    needed = {each.run.start.name for each in plan.missing() if each.run and each.run.start}
    for run in (item.run, item.run.start if item.run else None):
        if run is not None and run.name in plan.evidence.done and run.name not in needed:
            shutil.rmtree(out / "runs" / run.name, ignore_errors=True)


def _write_ledger(
    out: Path, plan: Plan, experiments: Sequence[Experiment], data: Sequence[str], report: bool = False
) -> ledger.Ledger:
    """Write the ledger of these experiments, and of others that have evidence; with the figures and the report where
    that is asked for."""
    with lock.wait(out / "busy" / "ledger"):
        claims, panels = [], {}
        for experiment in EXPERIMENTS.values():
            with of_strangers(out, experiment.name):
                found = experiment.find(plan.evidence)
                if experiment not in experiments and not is_measured(found):
                    continue
                figure = page.draw(experiment, plan.evidence, found, out) if report else None
            panels[experiment.name] = found.panels
            claims.append(ledger.claim_of(experiment, found, command_of(out, plan, experiment, data), figure))
        whole = ledger.ledger_of(plan.evidence, claims, len(plan.missing()))
        ledger.write(out / "ledger.json", whole)
        if report:
            page.write_table(out / "table.md", whole)
            page.write(out / "report.html", whole, plan.evidence, panels, out)
    return whole


@contextlib.contextmanager
def of_strangers(out: Path, name: str) -> Iterator[None]:
    """Results that were copied here may fit no other, however plausible each of their numbers is."""
    try:
        yield
    except (ArithmeticError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"The results in {out / 'results'} that {name} needs do not fit each other ({error}): delete those that "
            "were copied here, to measure them again."
        ) from error


def command_of(out: Path, plan: Plan, experiment: Experiment | None, data: Sequence[str]) -> str:
    """The command that measures one claim, or all."""
    scale = plan.evidence.scale
    roles = dict.fromkeys(item.role for item in plan.items)
    named = dict.fromkeys(scale.sets[role] for role in roles if scale.sets[role] != "synthetic")
    stores = data or [f"{name}=STORE" for name in named]
    words = ["alexnet reproduce", str(out), "--scale", scale.name]
    words += ["--data", *stores] if stores else []
    return " ".join(words + (["--only", experiment.name] if experiment else []))


def _answer(
    out: Path, chosen: Scale, plan: Plan, made: ledger.Ledger | None, rates: Rates, data: Sequence[str]
) -> dict[str, Any]:
    missing = plan.missing()
    keys = ("name", "title", "verdict", "effect", "interval", "unit", "paper")
    return {
        "out": str(out),
        "scale": chosen.name,
        "report": str(out / "report.html") if made else None,
        "ledger": str(out / "ledger.json") if made else None,
        "runs": len(plan.items) - len(missing),
        "missing": len(missing),
        "hours_left": sum(map(rates.seconds, missing)) / 3600,
        "claims": [{key: claim[key] for key in keys} for claim in made["claims"]] if made else [],  # type: ignore[literal-required]
        "absent": dict(plan.absent),
        "plan": [] if made else planned(plan, rates),
        "spread": f"torchrun --nproc-per-node {gpus()} -m " + command_of(out, plan, None, data),
    }


def gpus() -> int:
    """GPUs of this machine; 8, as an example, where it has none or one."""
    count = torch.cuda.device_count()
    return count if count > 1 else 8


def in_hours(hours: float) -> str:
    """Hours with one digit after the point below 100, else with none."""
    return f"{hours:.1f}" if hours < 100 else f"{hours:,.0f}"


def planned(plan: Plan, rates: Rates) -> list[dict[str, Any]]:
    """For each experiment its runs and the hours that those still missing take."""
    rows = []
    for name in dict.fromkeys(item.experiment for item in plan.items):
        left = [item for item in plan.missing() if item.experiment == name]
        count = sum(item.experiment == name for item in plan.items)
        hours = sum(map(rates.seconds, left)) / 3600
        rows.append({"name": name, "runs": count, "missing": len(left), "hours": hours})
    return rows


def render(result: dict[str, Any]) -> RenderableType:
    """The verdicts, or the plan, for a terminal."""
    parts: list[RenderableType] = []
    if result["plan"]:
        rows = table("experiment", "runs", "missing", "hours")
        for row in result["plan"]:
            rows.add_row(row["name"], str(row["runs"]), str(row["missing"]), in_hours(row["hours"]))
        parts += [heading(f"Plan for scale {result['scale']}, on this machine"), rows]
        parts.append(Text(f"In all about {in_hours(result['hours_left'])} hours; --share K/N divides them."))
        if result["hours_left"] > HOURS_OF_A_DAY:
            parts += [Text("On the GPUs of a machine, each run on one of them:"), Text("  " + result["spread"])]
    if result["claims"]:
        verdicts = table("claim", "verdict", "effect", "95 % interval", "paper", texts=2)
        for claim in result["claims"]:
            effect = "" if claim["effect"] is None else f"{claim['effect']:.2f} {claim['unit']}"
            interval = "" if claim["interval"] is None else "{:.2f} to {:.2f}".format(*claim["interval"])
            verdicts.add_row(claim["name"], claim["verdict"], effect, interval, claim["paper"])
        parts += [heading("The paper's claims"), verdicts]
    if result["missing"]:
        parts.append(Text(f"{result['missing']} runs are missing; the same command resumes."))
    parts += [Text(f"{name} needs --data {data}=STORE.") for name, data in result["absent"].items()]
    if result["report"]:
        parts.append(Text(f"Report: {result['report']}"))
    return Group(*parts)
