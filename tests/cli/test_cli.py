"""The command line: help, options, exit codes, and what goes to which stream."""

import dataclasses
import importlib
import inspect
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alexnet.cli import COMMANDS, main, train
from alexnet.cli.command_line import Answer, parse, run_command
from alexnet.cli.train_line import parse_train
from alexnet.config import TrainConfig, save_config
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES, recipe
from alexnet.training.stop import Stopped

Streams = pytest.CaptureFixture[str]


def one_line(text: str) -> str:
    """The only line of `text`, however long."""
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1, text
    return text


# Help


def test_the_overview_names_every_command(capsys: Streams) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_for_help_with_an_example(name: str, capsys: Streams) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example:\n" in shown
    assert f"\n  alexnet {name} " in shown
    assert "--json" in shown
    assert "--debug" in shown


def examples(name: str) -> list[list[str]]:
    """The options of the examples in a command's help."""
    lines = (inspect.getdoc(COMMANDS[name]) or "").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith(f"  alexnet {name} ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_the_help_are_understood(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert examples(name)
    for options in examples(name):
        line = parse_train(train, options) if name == "train" else parse(name, COMMANDS[name], options)
        assert not line.json
        assert not line.debug


def documented() -> list[str]:
    """Command lines in README.md, docs and recipes: lines of code blocks, and whole ones in the text."""
    root = Path(__file__).parents[2]
    texts = [path.read_text(encoding="utf-8") for path in (root / "README.md", *sorted(root.glob("docs/*.md")))]
    texts += [recipe.__doc__ or "" for recipe in RECIPES.values()]
    lines = [line for text in texts for line in re.findall(r"^alexnet .*$|(?<=`)alexnet [^`]+(?=`)", text, re.M)]
    return [line for line in lines if not line.endswith("--help") and re.search(r"/|STORE|RUN", line)]


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
        understood = parse_train(train, options) if name == "train" else parse(name, COMMANDS[name], options)
        assert not understood.json, line


def test_every_parameter_is_explained() -> None:
    for name, command in COMMANDS.items():
        explained = (inspect.getdoc(command) or "").partition("Args:")[2]
        for parameter in inspect.signature(command).parameters.values():
            annotated = hasattr(parameter.annotation, "__metadata__") and parameter.annotation is not Any
            assert f"\n    {parameter.name}: " in explained or annotated, f"{name} {parameter.name}"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_defaults_are_those_of_the_function_that_does_the_work(name: str) -> None:
    elsewhere = {"prepare": "data.prepare.prepare", "bench": "bench.bench", "demo": "demo.demo"}
    module = importlib.import_module(f"alexnet.{elsewhere.get(name, f'study.{name}')}")
    worker = inspect.signature(getattr(module, name)).parameters
    for parameter in inspect.signature(COMMANDS[name]).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in ("data", "out"):
            named = {("bench", "network"): "network_name"}.get((name, parameter.name), parameter.name)
            assert parameter.default == worker[named].default, parameter.name


def test_module_and_script_are_the_same() -> None:
    command = [sys.executable, "-m", "alexnet", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("alexnet ")


# Wrong usage: exit code 2, nothing on standard output


def test_a_misspelt_command_is_put_right(capsys: Streams) -> None:
    assert main(["evalute", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "evalute" in one_line(err)
    assert "did you mean 'evaluate'?" in err


def test_a_command_is_needed(capsys: Streams) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(name in one_line(err) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_wrong_usage(name: str, capsys: Streams) -> None:
    assert main([name, *examples(name)[0], "--no-such-option", "1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--no-such-option" in err


def test_a_misspelt_setting_is_put_right(tmp_path: Path, capsys: Streams) -> None:
    assert main(["train", str(tmp_path / "store"), str(tmp_path / "run"), "--optim.rl", "0.1"]) == 2
    assert "--optim.lr" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["trian"], ["train", "s", "r", "--no-such-option"], ["train", "s", "r", "--epochs", "0"]]
)
def test_of_all_ranks_on_a_machine_one_says_what_is_wrong_with_the_words(
    words: list[str], capsys: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, speaks in (("0", True), ("1", False)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(words) == 2
        said = capsys.readouterr()
        assert bool(said.err.strip()) == speaks and said.out == ""


def test_what_only_one_rank_may_meet_is_said_by_every_rank(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["verify", "nowhere"]) == 1
    assert "nowhere is neither" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--recipe", "papier"], "papier"), (["--recipe=papier"], "papier"), (["--epochs", "0"], "epochs")],
)
def test_a_setting_that_is_not_allowed_is_wrong_usage(
    options: list[str], named: str, tmp_path: Path, capsys: Streams
) -> None:
    assert main(["train", str(tmp_path / "store"), str(tmp_path / "run"), *options]) == 2
    assert named in one_line(capsys.readouterr().err)


# Settings of train


def settings(*options: str) -> TrainConfig:
    return parse_train(train, [*options]).call.keywords["config"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_defaults_and_options_go_over_them(name: str, tmp_path: Path) -> None:
    line = [str(tmp_path / "store"), str(tmp_path / "run"), "--recipe", name]
    assert settings(*line) == recipe(name)
    changed = settings(*line, "--optim.lr", "0.125", "--epochs", "3", "--batch-size", "7", "--network.width", "0.5")
    assert (changed.optim.lr, changed.epochs, changed.batch_size, changed.network.width) == (0.125, 3, 7, 0.5)
    back = dataclasses.replace(
        changed,
        epochs=recipe(name).epochs,
        batch_size=recipe(name).batch_size,
        optim=dataclasses.replace(changed.optim, lr=recipe(name).optim.lr),
        network=dataclasses.replace(changed.network, width=recipe(name).network.width),
    )
    assert back == recipe(name)


def test_every_setting_is_an_option(tmp_path: Path, capsys: Streams) -> None:
    main(["train", "--help"])
    shown = capsys.readouterr().out

    def check(cls: Any, prefix: str) -> None:
        for field in dataclasses.fields(cls):
            if dataclasses.is_dataclass(field.type):
                check(field.type, f"{prefix}{field.name}.")
            else:
                assert f"--{prefix}{field.name}".replace("_", "-") in shown

    check(TrainConfig, "")


def test_the_settings_of_a_run_are_the_defaults_for_continuing_it(tmp_path: Path, capsys: Streams) -> None:
    line = [str(tmp_path / "store"), str(tmp_path)]
    started = dataclasses.replace(recipe("paper"), seed=17, epochs=4)
    save_config(started, tmp_path / "config.json")
    assert settings(*line) == started
    assert settings(*line, "--epochs", "5") == dataclasses.replace(started, epochs=5)
    other = dataclasses.replace(started, recipe="another")
    save_config(other, tmp_path / "config.json")
    assert main(["train", *line, "--recipe", "paper"]) == 2
    assert str(tmp_path) in one_line(capsys.readouterr().err)


# Failures: exit code 1, one line on standard error that names the file


@pytest.mark.parametrize(
    "line",
    [
        "prepare MISSING store",
        "train MISSING run",
        "evaluate MISSING --data MISSING",
        "predict MISSING MISSING",
        "features MISSING MISSING out.npy",
        "similar MISSING MISSING --data MISSING",
        "figures MISSING",
        "verify MISSING",
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
    assert out == ""
    assert str(missing) in one_line(err)
    assert list(tmp_path.iterdir()) == []  # and nothing is left behind


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, capsys: Streams) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 1
    assert str(tmp_path) in one_line(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def run_fake(error: BaseException | None, *options: str) -> int:
    def command(*, text: str = "text") -> Answer:
        """Do."""
        print("noise of a library")
        if error is not None:
            raise error
        return {"text": text}, lambda result: f"rendered {result['text']}"

    return run_command({"fake": command}, ["fake", *options], {})


def test_results_are_rendered_or_one_json_object(capsys: Streams) -> None:
    assert run_fake(None) == 0
    assert capsys.readouterr() == ("rendered text\n", "noise of a library\n")
    assert run_fake(None, "--json", "--text", "other") == 0
    out, _ = capsys.readouterr()
    assert json.loads(out) == {"text": "other"}


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("store.json is missing."), 1, "alexnet fake: store.json is missing."),
        (
            FileNotFoundError(2, "No such file or directory", "a.jpg"),
            1,
            "alexnet fake: a.jpg: No such file or",
        ),
        (FloatingPointError("The loss is not a number."), 1, "alexnet fake: The loss is not a number."),
        (RuntimeError("out of memory:\ntried\nhard"), 1, "RuntimeError: out of memory: tried hard (--debug"),
        (KeyboardInterrupt(), 130, "alexnet fake: Interrupted."),
        (KeyboardInterrupt("Stopped after step 3."), 130, "alexnet fake: Stopped after step 3."),
        (Stopped("Stopped after step 3.", signal.SIGINT), 130, "alexnet fake: Stopped after step 3."),
        (Stopped("Stopped after step 3.", signal.SIGTERM), 143, "alexnet fake: Stopped after step 3."),
    ],
)
def test_failures_are_one_line_without_traceback(error: BaseException, code: int, said: str, capsys: Streams) -> None:
    assert run_fake(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in one_line(err.removeprefix("noise of a library\n"))


def test_debug_shows_the_traceback(capsys: Streams) -> None:
    assert run_fake(ValueError("store.json is missing."), "--debug") == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.endswith("\nalexnet fake: store.json is missing.\n")


def test_a_reader_that_has_seen_enough_is_no_failure_to_speak_of() -> None:
    statement = "import sys; from alexnet.cli import main; sys.exit(main(['train', '--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", statement], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--network", "half"], {"network": NETWORKS["half"].config}),
        (["--recipe", "small", "--network=original", "--network.width", "0.5"], {"network.width": 0.5}),
        (["--from", "runs/a"], {"start_from": "runs/a"}),
        (["--checkpoint-every", "500"], {"checkpoint.every_steps": 500}),
        (["--checkpoint-every=2.5m"], {"checkpoint.every_minutes": 2.5}),
        (["--schedule.changes", "0 conv1 0", "9 fc8 common"], {"schedule.changes": ("0 conv1 0", "9 fc8 common")}),
    ],
)
def test_short_options_of_train_mean_settings(words, expected, tmp_path):
    config = parse_train(train, [str(tmp_path / "store"), str(tmp_path / "run"), *words]).call.keywords["config"]
    for name, value in expected.items():
        found = config
        for part in name.split("."):
            found = getattr(found, part)
        assert found == value


def test_an_unknown_network_is_refused_with_the_nearest(tmp_path, capsys):
    assert main(["train", str(tmp_path / "s"), str(tmp_path / "r"), "--network", "orignal"]) == 2
    assert "did you mean 'original'" in capsys.readouterr().err
