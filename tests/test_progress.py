"""Progress on terminals of any width, and elsewhere."""

import io
import re
import time

import pytest
from rich.console import Console

from alexnet import progress
from alexnet.progress import Life, Progress, duration


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system="truecolor")


def shown(console: Console) -> list[str]:
    """The lines that were drawn, without control sequences."""
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_bar_count_and_time_left_never_vanish(width):
    console = terminal(width)
    with Progress("training runs/imagenette-with-a-long-name", 378_760, console=console) as bar:
        bar.start_time -= 100
        bar.advance(9_472, epoch="12/40", loss="1.234", val_top1_error="43.2 %")
        assert bar.bar is not None
        bar.bar.refresh()
    last = shown(console)[-1]
    assert len(last) <= width
    assert last.startswith(("━", "╸")) and "9,472/378,760" in last and re.search(r"\d+ min left", last), last
    assert ("val_top1_error 43.2 %" in last) == (width == 200)


def test_a_line_stays_above_the_bar():
    console = terminal(60)
    with Progress("training", 100, console=console) as bar:
        bar.advance(50)
        bar.line("epoch 1 of 2: top-1 error 43.2 %")
    assert "epoch 1 of 2: top-1 error 43.2 %" in shown(console)


def test_elsewhere_there_are_plain_lines(capsys):
    with Progress("testing", 100) as bar:
        bar.line("epoch 1 of 2")
        bar.advance(100, top1_error="3 %")
    assert re.fullmatch(
        r"epoch 1 of 2\ntesting: 100 of 100 images, \d+ images/s, top1_error 3 %\n", capsys.readouterr().err
    )


def test_the_last_line_is_not_said_twice(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    with Progress("drawing", 2) as bar:
        bar.advance()
        bar.advance()
    assert [line.partition(" images")[0] for line in capsys.readouterr().err.splitlines()] == [
        "drawing: 1 of 2",
        "drawing: 2 of 2",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(45, "45 s"), (700, "12 min"), (3 * 3600 + 300, "3 h 05 min"), (52 * 3600, "2 days 4 h"), (5399, "1 h 30 min")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_command_without_a_bar_shows_life(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_OF_SILENCE", 0.05)
    console = terminal(60)
    with Life("alexnet bench", console):
        time.sleep(0.3)
        with Progress("timing", 10, console=console) as bar:
            bar.advance(10)
        time.sleep(0.3)
    lines = shown(console)
    assert sum("alexnet bench is working" in line for line in lines) >= 2
    assert Life.current is None


def test_a_quick_command_shows_none():
    console = terminal(60)
    with Life("alexnet describe", console):
        pass
    assert shown(console) == []


def test_work_that_is_done_already_has_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("training run", total=60, start=60):
        pass
    assert capsys.readouterr().err == "training run: 60 of 60 images\n"
