"""Running a command line: exit codes, and what goes to which stream."""

import json
import signal
import subprocess
import sys

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
