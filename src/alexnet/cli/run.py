"""Run one command line: exit codes, --json, --debug, and failures in one line on standard error."""

import atexit
import contextlib
import faulthandler
import gc
import io
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from json import dumps
from typing import Any

from alexnet.cli.options import Command, Line, first_line, parse
from alexnet.cli.refusals import sentence
from alexnet.config import suggestion
from alexnet.files.printable import printable, printable_lines
from alexnet.native.processor import wait_briefly
from alexnet.ranges import UsageError

HELP = ("help", "--help", "-h")
MEET = ("train", "evaluate", "features")
"""Commands whose ranks meet before they begin."""
UNWRAPPED = 10_000
"""Columns of a table that is piped: it does not wrap."""
ASCII = {ord(a): b for a, b in {"\u2588": "#", "\u2026": "~", "\u00d7": "x", "\u2013": "-"}.items()}
ASCII |= dict.fromkeys(range(0x2589, 0x2590), "")
"""Stand-ins on a terminal that has only ASCII. Tables bring their own."""
OUT_OF_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator")
"""In what torch raises when memory is short."""
Parsers = Mapping[str, Callable[[list[str]], Line]]
"""By command: what reads its arguments, where that is not `options.parse`."""


@dataclass(frozen=True)
class Speaker:
    """Says what is wrong: one line on standard error and, under --json, an object with `error` on standard output."""

    who: str
    json: bool

    def fail(self, what: str, code: int, *, silent: bool = False) -> int:
        """Say `what`, unless `silent`; returns `code`."""
        if not silent:
            print(printable_lines(f"{self.who}: {what}"), file=sys.stderr)
            self.answer(what)
        return code

    def answer(self, what: str) -> None:
        """Under --json, print the object with `error`. Of several ranks, the first one does."""
        if self.json and os.environ.get("RANK", "0") == "0":
            print(dumps({"error": what}))


def run(commands: Mapping[str, Command], argv: Sequence[str] | None, parsers: Parsers) -> int:
    """Run the command that `argv` names (None: the arguments of this process).

    Returns the exit code: 0 on success, 2 for wrong usage (`UsageError`, whatever raises it, and what the parser
    refuses), 130 when interrupted, 143 when terminated, 1 for any other failure.
    """
    if argv is None:  # a process of its own
        wait_briefly()
        faulthandler.enable()  # prints the stack when a disk under a memory map disappears (SIGBUS)
        # torch brings hundreds of thousands of objects. Looking through them for garbage while they are imported, and
        # once more as the process ends, takes a third of the time of `predict`.
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)
        for stream in (sys.stdout, sys.stderr):  # a terminal may not have every letter of a class name
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(commands, [*(sys.argv[1:] if argv is None else argv)], parsers)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, `head` perhaps, wants no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(commands: Mapping[str, Command], words: list[str], parsers: Parsers) -> int:
    if {"-V", "--version"} & {*words}:
        print(f"alexnet {version('alexnet')}")
        return 0
    name, options = _command_first(words)
    speaker = Speaker(f"alexnet {name}" if name in commands else "alexnet", "--json" in words)
    if name in HELP:
        print(_overview(commands))
        return 0
    if name not in commands:
        known = suggestion(name, commands).replace("there are", "the commands are")
        problem = f"there is no command '{name}'" if name else "a command is missing"
        return speaker.fail(f"{problem}; {known}", 2, silent=_is_other_local_rank())
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            line = parsers[name](options) if name in parsers else parse(name, commands[name], options)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return speaker.fail(_sentence(error), exit_code(error), silent=_another_says(name, _sentence(error)))
    except SystemExit as stop:  # tyro has printed the help, or what is wrong
        return 0 if not stop.code else _report_usage(name, said.getvalue(), speaker)
    return _execute(line, speaker)


def _command_first(words: list[str]) -> tuple[str, list[str]]:
    """The command and its options. `help` may stand before or after the command, --json and --debug before it."""
    before = list(itertools.takewhile(lambda word: word in (*HELP, "--json", "--debug"), words))
    name, *options = words[len(before) :] or [""]
    wants_help = any(word in HELP for word in before) or options == ["help"]
    if wants_help:
        return (name, ["--help"]) if name else (HELP[0], [])
    return name, [*options, *before]


def _report_usage(name: str, said: str, speaker: Speaker) -> int:
    """Pass on what tyro says is wrong with the command line."""
    what = sentence(said)
    if not what.endswith((".", "?")):
        what += f"; see alexnet {name} --help."
    return speaker.fail(what, 2, silent=_another_says(name, what))


def _another_says(name: str, what: str) -> bool:
    """Under torchrun: tell the other ranks, which may wait for this one, what is wrong with its command line.

    Returns whether another process of this machine reports it.
    """
    if name in MEET and os.environ.get("WORLD_SIZE", "1") != "1":
        from alexnet.training import meeting

        meeting.report(what)
        return not meeting.is_first_to_say()
    return _is_other_local_rank()


def _execute(line: Line, speaker: Speaker) -> int:
    try:
        from alexnet.progress import Life

        # What a library prints is no part of the answer.
        with contextlib.redirect_stdout(sys.stderr), Life(speaker.who):
            result, render = line.call()
            answer = dumps(result) if line.json else render(result)
    except KeyboardInterrupt as interrupt:
        code = 128 + getattr(interrupt, "signal", signal.SIGINT)
        return speaker.fail(str(interrupt) or "Interrupted.", code)
    except Exception as error:
        if line.debug:
            traceback.print_exc()
        return speaker.fail(_sentence(error), exit_code(error), silent=getattr(error, "silent", False))
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun, the first one answers
        _show(answer)
    # Most is done and answered, and something could not be.
    return Speaker(speaker.who, json=False).fail(result["error"], 1) if "error" in result else 0


def exit_code(error: Exception) -> int:
    """2 where the command line itself is wrong, 1 for anything else."""
    return 2 if isinstance(error, UsageError) else 1


def _overview(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    return "\n".join(
        (
            "usage: alexnet COMMAND ...",
            "",
            "AlexNet exactly as in 2012: from images to a trained network, and a look inside it.",
            "",
            *(f"  {name:<{width}}  {first_line(command)}" for name, command in commands.items()),
            "",
            "alexnet COMMAND --help shows a command's options and an example. Every command takes --json",
            "(one JSON object, and nothing else, on standard output; after a failure it has the key error)",
            "and --debug (tracebacks). alexnet --version shows the version.",
        )
    )


def _show(answer: Any) -> None:
    """Print text, or what rich renders: as wide as the terminal, and unwrapped where there is none."""
    if isinstance(answer, str):
        print(printable_lines(answer))
        return
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console()
    if not console.is_terminal:
        console = Console(width=UNWRAPPED)
    shown = Segments(
        # What rich itself sends to the terminal is no text: an escape in a text is a stranger's.
        segment if segment.control else Segment(printable_lines(segment.text), segment.style)
        for segment in console.render(answer)
    )
    if console.encoding.startswith("utf"):
        console.print(shown, end="")
        return
    with console.capture() as printed:
        console.print(shown, end="")
    print(printed.get().translate(ASCII), end="")


def _is_other_local_rank() -> bool:
    """Whether another process of torchrun on this machine has the same command line, and reports what is wrong."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _sentence(error: Exception) -> str:
    """What went wrong, in one line; for what is not the user's mistake, also how to see more."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{printable(str(error.filename))}: {error.strerror}."
    if isinstance(error, ValueError | OSError | FloatingPointError) and str(error):
        return str(error)
    if isinstance(error, MemoryError) or any(sign in f"{type(error).__name__}: {error}" for sign in OUT_OF_MEMORY):
        return "There is not enough memory; use a smaller --batch-size, network or image."
    return " ".join(f"{type(error).__name__}: {error} (--debug shows where)".split())
