"""Run one command line: exit codes, --json, --debug, and failures in one line on standard error."""

import atexit
import contextlib
import difflib
import faulthandler
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from json import dumps
from typing import Any

from alexnet.cli.options import Command, Line, first_line, parse

Parsers = Mapping[str, Callable[[list[str]], Line]]
"""By command: what reads its arguments, where that is not `options.parse`."""


def run(commands: Mapping[str, Command], argv: Sequence[str] | None, parsers: Parsers) -> int:
    """Run the command that `argv` names (None: the arguments of this process).

    Returns the exit code: 0 on success, 2 for wrong usage, 130 when interrupted, 143 when terminated, 1 for any other
    failure.
    """
    if argv is None:  # a process of its own
        faulthandler.enable()  # prints the stack when a disk under a memory map disappears (SIGBUS)
        # torch brings hundreds of thousands of objects. Looking through them for garbage while they are imported, and
        # once more as the process ends, takes a third of the time of `predict`.
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)
    name, *options = [*(sys.argv[1:] if argv is None else argv)] or [""]
    try:
        code = _run(commands, name, options, parsers)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, `head` perhaps, wants no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(commands: Mapping[str, Command], name: str, options: list[str], parsers: Parsers) -> int:
    if name in ("--help", "-h"):
        print(_overview(commands))
        return 0
    if name == "--version":
        print(f"alexnet {version('alexnet')}")
        return 0
    if name not in commands:
        problem = f"there is no command '{name}'" if name else "a command is missing"
        near = difflib.get_close_matches(name, commands, n=1)
        way_out = f"did you mean '{near[0]}'?" if near else f"the commands are {', '.join(commands)}."
        return _fail("alexnet", f"{problem}; {way_out}", 2, silent=_is_other_local_rank())
    try:
        with contextlib.redirect_stderr(io.StringIO()) if _is_other_local_rank() else contextlib.nullcontext():
            line = parsers[name](options) if name in parsers else parse(name, commands[name], options)
    except BrokenPipeError:
        raise
    except ValueError as error:
        return _fail(f"alexnet {name}", _sentence(error), 2, silent=_is_other_local_rank())
    except OSError as error:  # perhaps only on this rank
        return _fail(f"alexnet {name}", _sentence(error), 2)
    except SystemExit as stop:  # tyro has printed the help, or what is wrong
        return int(stop.code or 0)
    return _execute(name, line)


def _execute(name: str, line: Line) -> int:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what a library prints is no part of the answer
            result, render = line.call()
            answer = dumps(result) if line.json else render(result)
    except KeyboardInterrupt as interrupt:
        code = 128 + getattr(interrupt, "signal", signal.SIGINT)
        return _fail(f"alexnet {name}", str(interrupt) or "Interrupted.", code)
    except Exception as error:
        if line.debug:
            traceback.print_exc()
        return _fail(f"alexnet {name}", _sentence(error), 1)
    if os.environ.get("RANK", "0") == "0":  # of the processes of torchrun, the first one answers
        _show(answer)
    return 0


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
            "(one JSON object, and nothing else, on standard output) and --debug (tracebacks).",
        )
    )


def _show(answer: Any) -> None:
    if isinstance(answer, str):
        print(answer)
    else:
        from rich.console import Console

        Console().print(answer)


def _is_other_local_rank() -> bool:
    """Whether another process of torchrun on this machine has the same command line, and reports what is wrong."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _fail(who: str, what: str, code: int, *, silent: bool = False) -> int:
    if not silent:
        print(f"{who}: {what}", file=sys.stderr)
    return code


def _sentence(error: Exception) -> str:
    """What went wrong, in one line; for what is not the user's mistake, also how to see more."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ValueError | OSError | FloatingPointError) and str(error):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error} (--debug shows where)".split())
