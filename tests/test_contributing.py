"""CONTRIBUTING.md is true: the rooms and names that it lists exist, and its examples work as they stand."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import AlexNet
from alexnet.cli.commands.train import train
from alexnet.cli.options import Answer
from alexnet.cli.run import run
from alexnet.cli.train_options import parse_train
from alexnet.config import AugmentConfig, NetworkConfig, TrainConfig
from alexnet.data import sources
from alexnet.data.augment import draw_epoch
from alexnet.data.classes import Class
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.source import Choices, FileAt, LabelledImage, Source, SourceKind, Split
from alexnet.data.store.reader import Store
from alexnet.files.text import read_text
from alexnet.model.cpu import kernels
from alexnet.native import library
from alexnet.networks import NETWORKS, PAPER
from alexnet.recipes import RECIPES, small
from alexnet.reproduce.arms import BASE
from alexnet.reproduce.experiment import Experiment, Found, Planned, errors_compared, seeds
from alexnet.reproduce.experiments import EXPERIMENTS
from alexnet.reproduce.figures import dots
from alexnet.reproduce.ledger import claim_of
from alexnet.reproduce.plan import DataSet, Planner
from alexnet.reproduce.results import Results
from alexnet.reproduce.scales import scale
from alexnet.reproduce.verdict import UNMEASURED

ROOT = Path(__file__).parents[1]
if not (ROOT / "CONTRIBUTING.md").is_file():
    pytest.skip("CONTRIBUTING.md is not beside the tests", allow_module_level=True)
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return re.split(r"^##", PAGE.partition(f"# {heading}\n")[2], flags=re.MULTILINE)[0]


def example(heading: str) -> str:
    """The code in a section: at most ten lines, not counting empty ones and Python's comments."""
    (code,) = re.findall(r"^```(?:python|cpp)\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line and not line.startswith("# ")]) <= 10
    return code


def test_every_room_is_in_the_table() -> None:
    package = ROOT / "src/alexnet"
    paths = [path for folder in (package, package / "data") for path in folder.iterdir() if path.name[0] not in "_."]
    rooms = {f"{p.name}/" if p.is_dir() else p.name for p in paths if p.is_dir() or p.suffix == ".py"} - {"data/"}
    firsts = re.findall(r"^\| (`.*?) \|", section("The rooms"), re.MULTILINE)
    assert rooms == {name.removeprefix("data/") for first in firsts for name in re.findall(r"`(.+?)`", first)}


def test_the_names_in_the_answers_exist() -> None:
    """Each answer is a link to a file and, behind it, names that this file defines."""
    named = re.findall(r"\]\(([^)]+)\)((?:(?:,| and|:)? `\w+`)*)", section("One-minute answers"))
    assert len(named) > 20
    for file, names in named:
        text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
        assert (ROOT / file).exists(), file
        for name in re.findall(r"`(\w+)`", names):
            definition = rf"(?:def|class|struct) {name}\b|^\s*{name}(?:: .+)?(?: =|$)|\b{name}\("
            assert re.search(definition, text, re.M), f"{file} does not define {name}"


def test_the_workflow_calls_targets_of_make() -> None:
    workflow = (ROOT / ".github/workflows/check.yml").read_text(encoding="utf-8")
    called = set(re.findall(r"(?:target: |run: make )([\w-]+)", workflow))
    assert {"check", "oldest", "test-avx2", "test-clang", "test-none", "kernels-aarch64"} < called
    assert called <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_a_kind_of_source_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"Path": Path, "Source": Source, "Split": Split, "Class": Class, "FileAt": FileAt}
    names |= {"LabelledImage": LabelledImage, "SourceKind": SourceKind, "Choices": Choices, "read_text": read_text}
    exec(example("... a kind of source?"), names)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((20, 20, 3), 60 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "images.csv").write_text("".join(f"{n}.png,{('cat', 'ant')[n % 2]}\n" for n in range(4)))
    with pytest.raises(ValueError, match="no class folders"):
        sources.open_source(folder)
    monkeypatch.setattr(sources, "KINDS", (names["KIND"], *sources.KINDS))
    prepare(folder, tmp_path / "store", size=16, workers=1)
    split = Store(tmp_path / "store").split("train")
    assert {split.key(i): int(split.labels[i]) for i in range(4)} == {f"{n}.png": (1, 0)[n % 2] for n in range(4)}


def test_a_network_and_a_recipe_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"NETWORKS": dict(NETWORKS), "PAPER": PAPER}
    exec(example("... a network?"), names)
    monkeypatch.setattr("alexnet.networks.NETWORKS", names["NETWORKS"])
    names |= {"dataclasses": dataclasses, "TrainConfig": TrainConfig, "small": small}
    exec(example("... a recipe?"), names)
    monkeypatch.setitem(RECIPES, "flowers", names["flowers"])
    options = ["--recipe", "flowers", "--network", "wide"]
    line = parse_train(train, [str(tmp_path / "store"), str(tmp_path / "run"), *options])
    config = line.call.keywords["config"]
    assert (config.recipe, config.epochs) == ("flowers", 100)
    assert config.network == NetworkConfig(classes=config.network.classes, width=2)
    assert AlexNet(dataclasses.replace(config.network, width=0.125)).fc8.out_features == config.network.classes


@pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
def test_a_kernel_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "scale.h").write_text(example("... a C++ kernel?"))
    exports = 'return new Export[2]{exported<scale<float>>("scale"), {}};'
    source = tmp_path / "kernels.cpp"
    source.write_text(
        f'#include "exports.h"\n#include "scale.h"\nextern "C" const Export *alexnet_exports() {{ {exports} }}\n'
    )
    x = torch.randn(7)
    y = torch.empty_like(x)
    library.load(source, kernels.FLAGS).scale(x.data_ptr(), y.data_ptr(), x.numel(), 3.0, 2)
    assert torch.equal(y, 3 * x)


def test_an_experiment_is_added(tmp_path: Path) -> None:
    names: dict[str, Any] = {"BASE": BASE, "Experiment": Experiment, "Planned": Planned, "Found": Found}
    names |= {"seeds": seeds, "errors_compared": errors_compared, "dots": dots}
    exec(example("... an experiment?"), names)
    added, small_scale = names["EXPERIMENT"], scale("small")
    sets = {"images": DataSet(images=9469, classes=10)}
    plan = Planner(small_scale, sets, Results(tmp_path), [added], [*EXPERIMENTS.values(), added]).plan()
    assert len(plan.missing()) == 6
    assert [run.run.config.optim.momentum for run in plan.items if run.run] == 3 * [0.9, 0.0]
    found = added.find(plan.evidence)
    assert claim_of(added, found, "alexnet reproduce", None)["verdict"] == UNMEASURED
    assert added.draw(plan.evidence, found) is None


def test_the_example_of_a_test_passes() -> None:
    names: dict[str, Any] = {"draw_epoch": draw_epoch, "AugmentConfig": AugmentConfig}
    exec(example("Write a test"), names)
    names["test_order_is_a_permutation_of_all_images"]()


def test_a_command_is_added(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"Path": Path, "Answer": Answer}
    exec(example("... a command?"), names)
    room = SimpleNamespace(count=lambda store, split: {"images": len(f"{store}{split}")}, render=str)
    monkeypatch.setattr("alexnet.study.count", room, raising=False)
    assert run({"count": names["count"]}, ["count", "store", "--split", "val", "--json"], {}) == 0
    assert capsys.readouterr().out == '{"images": 8}\n'
    assert run({"count": names["count"]}, ["count", "--help"], {}) == 0
    assert "alexnet count stores/imagenette" in capsys.readouterr().out
