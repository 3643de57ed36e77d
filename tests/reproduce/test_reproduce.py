"""The whole of it at scale `tiny`: every experiment, the ledger, the report; resumed, shared, merged."""

import dataclasses
import io
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console, RenderableType
from stores import images, rows, write_store

from alexnet.reproduce import plan as planning
from alexnet.reproduce import reproduce as module
from alexnet.reproduce.arms import BASE, FOUR_LAYERS, Arm, Run, changed, in_words
from alexnet.reproduce.experiments import EXPERIMENTS, crops_and_mirrors
from alexnet.reproduce.experiments.kernels import apart
from alexnet.reproduce.experiments.relu_vs_tanh import SEARCH_SEED
from alexnet.reproduce.images import sets_of
from alexnet.reproduce.plan import Planner
from alexnet.reproduce.report import table_of
from alexnet.reproduce.reproduce import device_of_rank, experiments_of, render, reproduce, share_of
from alexnet.reproduce.results import Results
from alexnet.reproduce.scales import SCALES, scale
from alexnet.reproduce.verdict import NOT_JUDGED, VERDICTS, judge
from alexnet.study.evaluate import evaluate
from alexnet.study.tiles import colourfulness

TINY: dict[str, Any] = {"scale": "tiny", "device": "cpu", "workers": 1}
PUBLISHED = Path(__file__).parents[2] / "docs/reproduce"
FIELDS = {"name", "claim", "paper", "original", "unit", "arms", "effect", "interval", "images", "verdict", "command"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it. The ledger is written once, in the end; `test_an_interruption_keeps_what_is_done` has it before."""
    folder, write = tmp_path_factory.mktemp("reproduce") / "out", module._write_ledger
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_write_ledger", lambda *of, report=False: write(*of, report=True) if report else None)
        reproduce(folder, **TINY)
    return folder


@pytest.fixture(scope="module")
def ledger(out: Path) -> dict[str, Any]:
    return json.loads((out / "ledger.json").read_text())


def planner(out: Path, share: int = 0, shares: int = 1, only: tuple[str, ...] = ()) -> Planner:
    tiny = scale("tiny")
    every = list(EXPERIMENTS.values())
    return Planner(
        tiny, sets_of(tiny, (), out), Results(out / "results"), experiments_of(only, tiny), every, share, shares
    )


def test_every_experiment_is_in_the_ledger_with_three_seeds_and_a_verdict(ledger: dict[str, Any]) -> None:
    assert [claim["name"] for claim in ledger["claims"]] == list(EXPERIMENTS)
    assert ledger["scale"] == "tiny" and ledger["missing"] == 0
    assert {"machine", "date", "versions"} <= set(ledger)
    for claim in ledger["claims"]:
        assert set(claim) >= FIELDS | {"figure"}
        assert claim["verdict"] in VERDICTS
        first, second = claim["arms"][:2]
        assert first["seeds"] == second["seeds"], claim["name"]
        assert len(first["seeds"]) >= 3 or claim["verdict"] == NOT_JUDGED, claim["name"]


def test_verdicts_follow_from_the_numbers_in_the_ledger(ledger: dict[str, Any]) -> None:
    for claim in ledger["claims"]:
        for compared in (claim, *claim["also"]):
            first, second = (arm["values"] for arm in compared["arms"][:2])
            judged = judge(first, second)
            if compared["verdict"] == NOT_JUDGED:
                continue
            assert compared["verdict"] == judged.verdict
            assert compared["effect"] == pytest.approx(judged.effect, abs=1e-5)
            assert compared["interval"] == pytest.approx(judged.interval, abs=1e-4)


def test_the_errors_are_those_of_evaluate_on_the_last_checkpoint(out: Path, ledger: dict[str, Any]) -> None:
    claim = next(claim for claim in ledger["claims"] if claim["name"] == "ten-views")
    ten, centre = claim["arms"][:2]
    run = planner(out).plan().evidence.runs[BASE, 1]
    for arm, views in ((ten, 10), (centre, 1)):
        found = evaluate([out / "runs" / run.name], out / "data" / "images", views=views, device="cpu")
        assert found["members"][0]["checkpoint"].endswith(f"step-{found_step(out, run):08}")
        assert arm["values"][arm["seeds"].index(1)] == pytest.approx(100 * found["top1_error"], abs=1e-5)


def found_step(out: Path, run: Run) -> int:
    result = Results(out / "results").read(run)
    assert result is not None
    return result["steps"]


def test_arms_that_experiments_share_are_trained_once(out: Path) -> None:
    plan = planner(out).plan()
    wanted = [name for experiment in EXPERIMENTS.values() for name in needed(out, experiment.name)]
    assert len(set(wanted)) == len(plan.items) < len(wanted)
    assert len(list((out / "runs").glob("*/*/config.json"))) == len(plan.items)


def needed(out: Path, name: str) -> list[str]:
    return [item.run.name for item in planner(out, only=(name,)).plan().items if item.run]


def test_the_report_needs_no_other_file_and_shows_every_claim(out: Path, ledger: dict[str, Any]) -> None:
    page = (out / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "<script" not in page
    first = page.index("All claims")
    for claim in ledger["claims"]:
        heading = page.index(claim["title"].replace("'", "&#x27;"), first)
        assert heading < page.index("<h2", page.index("<h2", first) + 1), f"{claim['name']} is not in the first table"
        assert claim["paper"].split("(")[0].strip() in page
        assert claim["command"].partition(" --scale ")[2] in page
        assert claim["figure"] and (out / claim["figure"]).is_file()
    assert page.count("<img") >= len(EXPERIMENTS) + 3  # figure 4 twice, and the strongest patches
    table = (out / "table.md").read_text().splitlines()
    assert sum(line.startswith("| **") for line in table) == len(EXPERIMENTS)
    assert len({line.count(" | ") for line in table}) == 1


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the documentation is not beside the tests")
def test_the_published_table_is_that_of_the_published_ledger() -> None:
    ledgers = list(PUBLISHED.glob("ledger-*.json"))
    for path in ledgers:
        assert table_of(json.loads(path.read_text())) in (PUBLISHED.parent / "reproduce.md").read_text()
    assert ledgers


def test_a_claim_about_time_alone_needs_no_run(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "data", tmp_path / "out/data")
    shutil.copy(out / "reproduce.json", tmp_path / "out")
    answer = reproduce(tmp_path / "out", **TINY, only=["augmentation-is-free"])
    (claim,) = answer["claims"]
    assert answer["runs"] == 0 and claim["verdict"] not in ("not measured", "too few seeds")


def test_results_travel(out: Path, ledger: dict[str, Any], tmp_path: Path) -> None:
    """What another machine measured is done here, without its runs."""
    other = tmp_path / "out"
    shutil.copytree(out / "results", other / "results")
    answer = reproduce(other, **TINY)
    assert answer["missing"] == 0
    assert not (other / "runs").exists()
    claims = json.loads((other / "ledger.json").read_text())["claims"]
    same = ("name", "arms", "effect", "interval", "verdict", "also", "measured")
    assert [[claim[key] for key in same] for claim in claims] == [
        [claim[key] for key in same] for claim in ledger["claims"]
    ]


def test_a_run_that_is_missing_is_trained_again_to_the_same_result(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "out"
    for part in ("data", "results"):
        shutil.copytree(out / part, other / part)
    shutil.copy(out / "reproduce.json", other)
    run = planner(other).plan().evidence.runs[FOUR_LAYERS, 2]
    results = Results(other / "results")
    before = results.read(run)
    results.path(run).unlink()
    assert [item.run for item in planner(other).plan().missing()] == [run]
    reproduce(other, **TINY, only=["lrn"], discard_runs=True)
    after = results.read(run)
    assert before and after
    assert (after["weights"], after["centre"], after["curves"]) == (
        before["weights"],
        before["centre"],
        before["curves"],
    )
    assert not list((other / "runs").glob("*/*/config.json"))


def test_an_interruption_keeps_what_is_done(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, made = tmp_path / "out", []
    shutil.copytree(out / "data", other / "data")
    shutil.copy(out / "reproduce.json", other)
    make = module.make

    def stop_at_the_third(run: Run, *rest: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(run.name)
        return make(run, *rest)

    monkeypatch.setattr(module, "make", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        reproduce(other, **TINY, only=["ten-views"])
    assert json.loads((other / "ledger.json").read_text())["missing"] == 1
    answer = reproduce(other, **TINY, only=["ten-views"], report=True)
    assert answer["missing"] == 1 and "too few seeds" in Path(answer["report"]).read_text()
    monkeypatch.setattr(module, "make", make)
    answer = reproduce(other, **TINY, only=["ten-views"])
    assert answer["missing"] == 0 and answer["runs"] == 3


def test_a_killed_process_and_one_beside_it_come_to_the_same_results(
    out: Path, ledger: dict[str, Any], tmp_path: Path
) -> None:
    """Two shares of one folder, the first killed in its work and begun again here."""
    there = tmp_path / "out"
    shutil.copytree(out / "data", there / "data")
    shutil.copy(out / "reproduce.json", there)
    command = [
        sys.executable,
        "-m",
        "alexnet",
        "reproduce",
        str(there),
        "--scale",
        "tiny",
        "--device",
        "cpu",
        "--only",
        "dropout",
        "--share",
    ]
    with (
        subprocess.Popen([*command, "1/2"], stderr=subprocess.PIPE, text=True) as killed,
        subprocess.Popen([*command, "2/2"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as other,
    ):
        assert killed.stderr is not None
        begun = (line for line in killed.stderr if line.startswith("run "))
        next(begun)
        next(begun)
        killed.kill()
        assert killed.wait() == -signal.SIGKILL, "it had a run under way"
        reproduce(there, only=("dropout",), share="1/2", **TINY)
        assert other.wait() == 0
    reproduce(there, only=("dropout",), **TINY)
    found = json.loads((there / "ledger.json").read_text())
    assert found["missing"] == 0
    expected = next(claim for claim in ledger["claims"] if claim["name"] == "dropout")
    assert next(claim for claim in found["claims"] if claim["name"] == "dropout")["arms"] == expected["arms"]


def test_shares_divide_all_runs_and_none_twice(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out / "data", tmp_path / "data")
    plans = [planner(tmp_path, share, 3).plan() for share in range(3)]
    mine = [{item.run.name if item.run else item for item in plan.mine()} for plan in plans]
    assert all(mine)
    assert sum(map(len, mine)) == len(set.union(*mine))
    waiting = [item for item in plans[0].items if item.run is None]
    assert len(waiting) == 6, "figure 1's last runs are known when the learning rates have been tried"
    tuned = [item for item in plans[0].items if item.run and item.run.start]
    assert len(tuned) == 2, "they come after the runs that they start from, in the same share"
    assert len(set.union(*mine)) + len(waiting) + len(tuned) == len(plans[0].items)
    shares = {item.run.name: item.share for item in plans[0].items if item.run}
    assert all(item.share == shares[item.run.start.name] for item in tuned if item.run and item.run.start)


def test_the_search_for_learning_rates_judges_nothing(out: Path, ledger: dict[str, Any]) -> None:
    claim = ledger["claims"][0]
    assert claim["name"] == "relu-vs-tanh"
    assert SEARCH_SEED not in claim["arms"][0]["seeds"]
    tried = claim["measured"]["training_error_by_learning_rate"]
    for which, chosen in claim["measured"]["learning_rate"].items():
        assert tried[which][f"{chosen:g}"] == min(tried[which].values())


def test_a_run_is_known_by_what_it_computes() -> None:
    tiny = scale("tiny")
    base = tiny.bases["images"]

    def identity(**changes: Any) -> str:
        arm = BASE.but("any label", **changes)
        return Run(arm, 0, changed(base, arm.changes), "data", None, in_words(base, arm.changes)).name

    assert identity() == identity(network__dropout=base.network.dropout)
    assert identity() != identity(network__dropout=0.1)
    elsewhere = dataclasses.replace(base, device="cuda", workers=7, dtype="bfloat16")
    assert Run(BASE, 0, elsewhere, "data").identity == Run(BASE, 0, base, "data").identity
    assert Run(BASE, 0, base, "data").identity != Run(BASE, 0, base, "other data").identity


def test_arms_of_a_seed_start_from_the_same_weights() -> None:
    """Whatever differs, layers of the same shape begin alike: also where a layer is missing, narrower or new."""
    import torch

    from alexnet.model.network import AlexNet

    def weights(arm: Arm) -> dict[str, torch.Tensor]:
        config = changed(scale("tiny").bases["images"], arm.changes).network
        return dict(AlexNet(config, generator=torch.Generator().manual_seed(3)).named_parameters())

    base = weights(BASE)
    for changes, different in [
        ({"network__lrn": "none"}, set()),
        ({"network__dropout": 0.0}, set()),
        ({"network__without_layers": ("conv3",)}, {"conv3", "conv4"}),
        ({"network__without_layers": ("fc6",)}, {"fc6", "fc7"}),
        ({"network__sixth_conv": True}, set()),
    ]:
        other = weights(BASE.but("", **changes))
        unlike = {name for name, value in base.items() if name not in other or not torch.equal(value, other[name])}
        assert {name.partition(".")[0] for name in unlike} == different, changes


def test_a_tower_of_colour_and_one_without_are_apart() -> None:
    random = np.random.default_rng(0)
    grey = np.repeat(random.normal(size=(8, 1, 5, 5)), 3, axis=1)
    coloured = random.normal(size=(8, 3, 5, 5))
    assert colourfulness(grey) == pytest.approx(np.zeros(8), abs=1e-9)
    towers, halves = apart(colourfulness(np.concatenate([grey, coloured])))
    assert towers > 3 * halves
    mixed = np.concatenate([grey[:4], coloured[:4], grey[4:], coloured[4:]])
    towers, halves = apart(colourfulness(mixed))
    assert towers < 3 * halves


def test_the_crops_and_mirrorings_of_the_paper_are_counted() -> None:
    assert crops_and_mirrors.variants() == 2048


def test_scales_name_their_experiments_and_fit_every_arm() -> None:
    for name in SCALES:
        chosen = scale(name)
        sets = {role: planning.DataSet(1000, 10) for role in chosen.sets}
        results = Results(Path("nowhere"))
        plan = Planner(chosen, sets, results, experiments_of((), chosen), list(EXPERIMENTS.values())).plan()
        assert plan.items and not plan.absent
        assert {item.experiment for item in plan.items} <= set(EXPERIMENTS)


def test_the_plan_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = reproduce(tmp_path / "out", scale="lesson", device="cpu", plan=True)
    assert answer["runs"] == 0 and answer["missing"] == 6 and answer["hours_left"] > 0
    assert not (tmp_path / "out" / "runs").exists()
    assert [row["name"] for row in answer["plan"]] == ["relu-vs-tanh"]
    spread = "torchrun --nproc-per-node 8 -m alexnet reproduce"
    assert answer["spread"].startswith(spread) and answer["spread"].endswith("--data cifar10=STORE")
    assert spread not in text_of(render(answer))
    days = text_of(render(answer | {"hours_left": 1234.5}))
    assert "about 1,234 hours" in days and spread in days


def text_of(renderable: RenderableType) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": "smal"}, "did you mean 'small'"),
        ({"scale": "tiny", "only": ["relu-vs-tan"]}, "did you mean 'relu-vs-tanh'"),
        ({"scale": "tiny", "share": "3/2"}, "K/N"),
        ({"scale": "tiny", "data": ["cifar10=x"]}, "draws its own"),
        ({"scale": "small", "data": ["stores/cifar10"]}, "NAME=STORE"),
        ({"scale": "small", "data": ["cifar=x"]}, "did you mean 'cifar10'"),
        ({"scale": "small", "data": ["cifar10=nowhere"]}, "nowhere"),
        ({"scale": "tiny", "device": "gpu"}, "no device 'gpu'"),
    ],
)
def test_what_is_wrong_is_one_sentence(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words) as error:
        reproduce(tmp_path / "out", **options)
    assert "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("device", "gpus", "rank", "expected"),
    [("auto", 2, "5", "cuda:1"), ("cuda", 1, "3", "cuda:0"), ("cpu", 2, "1", "cpu"), ("auto", 0, "1", "auto"),
     ("auto", 2, None, "auto")],
)  # fmt: skip
def test_processes_share_the_gpus_that_there_are(
    device: str, gpus: int, rank: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert device_of_rank(device) == expected


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    assert reproduce(tmp_path / "out", scale="small", plan=True)["plan"]
    assert not any(tmp_path.iterdir())


def test_fewer_images_than_a_batch_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    content = images(12, size=32)
    write_store(tmp_path / "few", [rows(content[:9])], [rows(content[9:], 9)], content[:9])
    with pytest.raises(ValueError, match=r"few has 9 training images, and scale small needs at least 128"):
        reproduce(tmp_path / "out", scale="small", data=[f"cifar10={tmp_path / 'few'}"])
    assert not (tmp_path / "out").exists()


def test_any_store_can_be_the_one_of_more_classes(tmp_path: Path) -> None:
    content = images(80, size=112)
    write_store(tmp_path / "own", [rows(content[:70])], [rows(content[70:], 70)], content[:70])
    found = sets_of(scale("small"), [f"wider={tmp_path / 'own'}"], tmp_path / "out")
    assert list(found) == ["wider"] and found["wider"].images == 70
    with pytest.raises(ValueError, match="did you mean 'wider'"):
        sets_of(scale("small"), ["wide=x"], tmp_path / "out")


def test_a_folder_of_something_else_or_of_another_scale_is_left_alone(out: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no reproduction"):
        reproduce(tmp_path, **TINY)
    with pytest.raises(ValueError, match="--scale tiny"):
        reproduce(out, scale="small")
    assert share_of("2/4") == (1, 4)


def test_a_damaged_result_is_named(out: Path, tmp_path: Path) -> None:
    other = tmp_path / "out"
    for part in ("data", "results"):
        shutil.copytree(out / part, other / part)
    run = planner(other).plan().evidence.runs[BASE, 0]
    path = Results(other / "results").path(run)
    path.write_text(path.read_text()[:500])
    with pytest.raises(ValueError, match=re.escape(path.name)):
        planner(other).plan()
