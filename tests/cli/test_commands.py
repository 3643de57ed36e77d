"""The commands: their help, examples, options and defaults, and the commands that the documentation shows."""

import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from one_line import one_line

from alexnet.cli import COMMANDS, main
from alexnet.cli import commands as folder
from alexnet.cli.options import Line, parse
from alexnet.cli.train_options import parse_train
from alexnet.data.sources import KINDS
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES

Streams = pytest.CaptureFixture[str]


def understand(name: str, options: list[str]) -> Line:
    """The command line `alexnet NAME OPTIONS`, parsed."""
    return parse_train(COMMANDS[name], options) if name == "train" else parse(name, COMMANDS[name], options)


def examples(name: str) -> list[list[str]]:
    """The options of the examples in a command's help."""
    lines = (inspect.getdoc(COMMANDS[name]) or "").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith(f"  alexnet {name} ")]


def test_the_overview_names_every_command(capsys: Streams) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_for_help_with_an_example(name: str, capsys: Streams) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "  Example:\n" in shown
    assert f"\n    alexnet {name} " in shown
    assert "--json" in shown
    assert "--debug" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_the_help_are_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert examples(name)
    for options in examples(name):
        line = understand(name, options)
        assert not line.json
        assert not line.debug


def documented() -> list[str]:
    """Command lines in the documentation and the recipes: those of code blocks, under torchrun too, and in the text."""
    root = Path(__file__).parents[2]
    texts = [path.read_text(encoding="utf-8") for path in (root / "README.md", *root.glob("docs/*.md"))]
    texts += [recipe.__doc__ or "" for recipe in RECIPES.values()]
    whole = r"^(?:torchrun .*-m )?(alexnet .*)$"
    lines = [line for text in texts for line in re.findall(whole, text.replace("\\\n", ""), re.M)]
    lines = [re.sub(r" > .*", "", line) for line in lines]
    lines += [line for text in texts for line in re.findall(r"`(alexnet (?:bench|[^`]*(?:/|STORE|RUN))[^`]*)`", text)]
    return [line for line in lines if not line.endswith("--help")]


def test_documented_commands_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = documented()
    assert {line.split()[1] for line in lines} >= {
        "prepare",
        "train",
        "evaluate",
        "predict",
        "similar",
        "verify",
    }
    for line in lines:
        _, name, *options = shlex.split(line.replace(" ...", "").replace("NAME", "small"), comments=True)
        understood = understand(name, options)
        assert not understood.json, line


def test_every_parameter_is_explained() -> None:
    for name, command in COMMANDS.items():
        explained = (inspect.getdoc(command) or "").partition("Args:")[2]
        for parameter in inspect.signature(command).parameters.values():
            annotated = hasattr(parameter.annotation, "__metadata__") and parameter.annotation is not Any
            assert f"\n    {parameter.name}: " in explained or annotated, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "completion")])
def test_defaults_are_those_of_the_function_that_does_the_work(name: str) -> None:
    elsewhere = {"prepare": "data.prepare.prepare", "bench": "bench.bench", "demo": "demo.demo"}
    elsewhere |= {"export": "exchange.export", "import": "exchange.import_", "download": "data.download.download"}
    elsewhere |= {"reproduce": "reproduce.reproduce", "explore": "explore.command"}
    module = importlib.import_module(f"alexnet.{elsewhere.get(name, f'study.{name}')}")
    worker = inspect.signature(getattr(module, "import_" if name == "import" else name)).parameters
    for parameter in inspect.signature(COMMANDS[name]).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in ("data", "out"):
            named = {("bench", "network"): "network_name"}.get((name, parameter.name), parameter.name)
            assert parameter.default == worker[named].default, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_wrong_usage(name: str, capsys: Streams) -> None:
    assert main([name, *examples(name)[0], "--no-such-option", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--no-such-option" in err


@pytest.mark.parametrize(
    "line",
    [
        "prepare MISSING store",
        "train MISSING run",
        "evaluate MISSING --data MISSING",
        "predict MISSING MISSING",
        "features MISSING MISSING out.npy",
        "similar MISSING MISSING --data MISSING",
        "compare MISSING --data MISSING",
        "figures MISSING",
        "verify MISSING",
        "export MISSING out",
        "import MISSING.pth run",
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_is_missing_is_named(
    line: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = tmp_path / "not-there"
    assert main([*line.replace("MISSING", str(missing)).split(), *options]) == 1
    out, err = capsys.readouterr()
    assert str(missing) in one_line(err)
    assert str(missing) in json.loads(out)["error"] if options else out == ""
    assert list(tmp_path.iterdir()) == []  # and nothing is left behind


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, capsys: Streams) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert str(tmp_path) in one_line(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_every_file_of_commands_is_a_command() -> None:
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name.removesuffix("_") for name in files} == set(COMMANDS)  # import_: Python reserves import


@pytest.mark.parametrize(
    ("command", "names"), [("train", RECIPES), ("describe", NETWORKS), ("prepare", [kind.name for kind in KINDS])]
)
def test_help_lists_all_recipes_networks_and_sources(command: str, names: Iterable[str], capsys: Streams) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {name} " in shown for name in names)
