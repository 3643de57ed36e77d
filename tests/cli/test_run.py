"""Running a command line: exit codes, and what goes to which stream."""

import contextlib
import inspect
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from one_line import one_line

from alexnet.cli import COMMANDS, main
from alexnet.cli.options import Answer
from alexnet.cli.run import run
from alexnet.training.stop import Stopped

Streams = pytest.CaptureFixture[str]


def test_module_and_script_are_the_same() -> None:
    command = [sys.executable, "-m", "alexnet", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("alexnet ")


def test_a_misspelt_command_is_put_right(capsys: Streams) -> None:
    assert main(["evalute", "run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "evalute" in one_line(err)
    assert "did you mean 'evaluate'?" in err


def test_nothing_far_is_suggested(capsys: Streams) -> None:
    assert main(["resnet"]) == 2
    err = one_line(capsys.readouterr().err)
    assert "did you mean" not in err and "the commands are demo, download" in err


@pytest.mark.parametrize("words", [["-V"], ["--version"], ["train", "--version"], ["--json", "-V"]])
def test_the_version_is_shown_anywhere(words: list[str], capsys: Streams) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("alexnet ")


@pytest.mark.parametrize("words", [["help"], ["-h"], ["--json", "help"], ["help", "--debug"]])
def test_the_overview_is_shown_anywhere(words: list[str], capsys: Streams) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("usage: alexnet COMMAND")


@pytest.mark.parametrize(
    "words", [["help", "verify"], ["verify", "help"], ["--help", "verify"], ["--debug", "verify", "-h"]]
)
def test_the_help_of_a_command_is_shown_anywhere(words: list[str], capsys: Streams) -> None:
    assert main(words) == 0
    assert "usage: alexnet verify" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("prepare images store --sise 3", "there is no option '--sise'; did you mean '--size'?"),
        ("prepare --label=x.csv", "there is no option '--label'; did you mean '--labels'?"),
        ("evaluate run --date store", "there is no option '--date'; did you mean '--data'?"),
        (
            "train store run --network.widht 0.5",
            "there is no option '--network.widht'; did you mean '--network.width'?",
        ),
        ("train store run --lr 0.1", "there is no option '--lr'; did you mean '--optim.lr'?"),
        (
            "train store run --chekpoint-every 5",
            "there is no option '--chekpoint-every'; did you mean '--checkpoint-every'?",
        ),
        ("describe --frobnicate", "there is no option '--frobnicate'; alexnet describe --help lists all."),
        ("train store run --network.grps 2", "there is no option '--network.grps'; alexnet train --help lists all."),
        ("prepare", "SOURCE and STORE are missing; see alexnet prepare --help."),
        ("evaluate run", "--data is missing; see alexnet evaluate --help."),
        ("prepare images store --size big", "--size is 'big'; it must be a whole number; see alexnet prepare --help."),
        (
            "evaluate run --data store --weights a",
            "--weights is 'a'; it must be a number; see alexnet evaluate --help.",
        ),
        (
            "train store run --dtype x",
            "--dtype is 'x'; it must be one of auto, float32, bfloat16; see alexnet train --help.",
        ),
        ("completion csh", "shell is 'csh'; it must be one of bash, zsh, fish; see alexnet completion --help."),
        ("train store run --optim.lr", "--optim.lr needs a value; see alexnet train --help."),
        ("describe a b", "b: the command takes no such argument; see alexnet describe --help."),
    ],
)
def test_what_is_wrong_with_a_command_line_is_one_sentence(words: str, said: str, capsys: Streams) -> None:
    assert main(words.split()) == 2
    name = words.partition(" ")[0]
    assert one_line(capsys.readouterr().err) == f"alexnet {name}: {said}\n"
    assert main([*words.split(), "--json"]) == 2
    assert json.loads(capsys.readouterr().out) == {"error": said}


def test_an_underscore_in_an_option_is_a_hyphen(capsys: Streams) -> None:
    assert main(["prepare", "nowhere", "store", "--val_fraction", "0.2"]) == 1
    assert "nowhere" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    "words",
    [
        "prepare images {}/new",
        "prepare images {}/deep/new",
        "train store {}",
        "train store {}/run",
        "demo --out {}",
        "demo --out {}/demo",
        "download cifar10 {}",
        "download cifar10 {}/data",
        "reproduce {}",
        "reproduce {}/out --scale tiny",
        "import weights.pth {}",
    ],
)
def test_a_file_where_a_folder_would_be_written_is_named_first(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text("content")
    assert main(words.format("mine").split()) == 1
    assert "mine is a file, not a folder; give another name." in one_line(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_file_in_the_place_of_the_partial_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("new.partial").write_text("content")
    assert main(["prepare", "images", "new"]) == 1
    assert "new.partial is a file, not a folder" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("resnet --json", 2, "no command 'resnet'"),
        ("--json verify nowhere", 1, "nowhere is neither"),
        ("verify --json", 2, "PATH"),
        ("train store run --optim.lr -1 --json", 2, "optim.lr is -1.0; it must be at least 0."),
        ("features run images out.npy --batch-size 0 --json", 2, "--batch-size is 0; it must be at least 1"),
        ("describe resnet --json", 2, "no network named 'resnet'"),
    ],
)
def test_a_failure_under_json_is_an_object_with_error(words: str, code: int, said: str, capsys: Streams) -> None:
    assert main(words.split()) == code
    out, err = capsys.readouterr()
    assert said in json.loads(out)["error"] and list(json.loads(out)) == ["error"]
    assert err


def test_debug_before_the_command_shows_the_traceback(capsys: Streams) -> None:
    assert main(["--debug", "verify", "nowhere"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_number_out_of_its_range_is_refused_before_anything_is_done(name: str, capsys: Streams) -> None:
    command = COMMANDS[name]
    parameters = [*inspect.signature(command).parameters.values()]
    assert all(each.annotation not in (int, float) for each in parameters if each.name != "views"), "needs a range"
    numbers = [each.name for each in parameters if "Range(" in str(each.annotation)]
    required = [each for each in parameters if each.default is each.empty and numbers]
    positional = sum(each.kind is each.POSITIONAL_ONLY for each in required)
    data = ["--data", "d"] if any(each.name == "data" for each in required) else []
    for number in numbers:
        option = "--" + number.replace("_", "-")
        assert main([name, *(["nowhere"] * positional), *data, option, "-7"]) == 2, option
        assert f"{option} is -7" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("path", ["https://example.org/a.jpg", "s3://bucket/run"])
def test_a_url_is_named_as_such(path: str, capsys: Streams) -> None:
    assert main(["predict", "run", path]) == 2
    assert f"{path} is a URL; download it first" in one_line(capsys.readouterr().err)


def test_an_archive_is_named_as_such(tmp_path: Path, capsys: Streams) -> None:
    (tmp_path / "run.tar.gz").write_bytes(b"")
    assert main(["predict", str(tmp_path / "run.tar.gz"), "image.jpg"]) == 2
    assert "is an archive; unpack it first" in one_line(capsys.readouterr().err)


def test_short_memory_is_a_sentence(capsys: Streams) -> None:
    assert run_fake(MemoryError()) == 1
    assert "There is not enough memory" in capsys.readouterr().err


def test_a_table_that_is_piped_does_not_wrap(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["describe", "paper"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("fc6" in line and "37,752,832" in line and "37,748,736" in line for line in lines)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    statement = (
        "from alexnet.cli.run import _show; from rich.table import Table; t = Table('a'); t.add_row('\u2588\u258c'); "
        "t.add_row('\u4e2d'); _show(t)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", statement],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii:backslashreplace"},
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii() and b"#" in shown.stdout and b"\\u4e2d" in shown.stdout


@pytest.mark.parametrize("name", ["predict", "train"])
def test_a_help_has_nothing_that_cannot_be_seen(name: str, capsys: Streams) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "\n\n  Example:\n" in shown
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_what_is_wrong_is_one_line_on_a_terminal_without_unicode(capsys: Streams) -> None:
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), "ascii")):  # which decides how tyro draws
        assert main(["train", "store", "run", "--network.width", "0"]) == 2
    assert capsys.readouterr().err == "alexnet train: network.width is 0.0; it must be more than 0 and at most 16.\n"


def test_a_command_is_needed(capsys: Streams) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(name in one_line(err) for name in COMMANDS)


@pytest.mark.parametrize(
    "words", [["trian"], ["train", "s", "r", "--no-such-option"], ["train", "s", "r", "--epochs", "0"]]
)
def test_one_rank_of_a_machine_reports_wrong_usage(
    words: list[str], capsys: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, speaks in (("0", True), ("1", False)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(words) == 2
        said = capsys.readouterr()
        assert bool(said.err.strip()) == speaks and said.out == ""


def test_every_rank_reports_what_may_fail_on_it_alone(capsys: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["verify", "nowhere"]) == 1
    assert "nowhere is neither" in capsys.readouterr().err


def run_fake(error: BaseException | None, *options: str) -> int:
    def command(*, text: str = "text") -> Answer:
        """Do."""
        print("noise of a library")
        if error is not None:
            raise error
        return {"text": text}, lambda result: f"rendered {result['text']}"

    return run({"fake": command}, ["fake", *options], {})


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


def test_a_reader_that_stops_reading_is_no_failure() -> None:
    statement = "import sys; from alexnet.cli import main; sys.exit(main(['train', '--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", statement], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
