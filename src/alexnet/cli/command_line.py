"""What all commands share: options from signatures, --json and --debug, exit codes, failures in one line."""

import atexit
import contextlib
import difflib
import faulthandler
import functools
import gc
import inspect
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from json import dumps
from typing import Annotated, Any

import tyro
from tyro.conf import arg

Answer = tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]  # the result, and what renders it for people
Command = Callable[..., Answer]
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class Line:
    """A command line that was read: the command with its arguments, and what every command understands."""

    call: functools.partial[Answer]
    json: bool
    debug: bool


def run_command(
    commands: Mapping[str, Command],
    argv: Sequence[str] | None,
    parsers: Mapping[str, Callable[[list[str]], Line]],
) -> int:
    """Run the command that `argv` (None: the process's arguments) names; `parsers` read what `parse` cannot.

    Returns the exit code: 0, 2 for wrong usage, 130 when interrupted, 143 when terminated, 1 for any other failure.
    """
    if argv is None:  # a process of its own
        faulthandler.enable()  # says where it was when a disk under a memory map disappears (SIGBUS)
        # torch brings hundreds of thousands of objects. To look through them for garbage again and again while they
        # are imported, and once more at the end of the process, takes a third of the time that `predict` needs.
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)
    name, *options = [*(sys.argv[1:] if argv is None else argv)] or [""]
    try:
        code = _run(commands, name, options, parsers)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(
    commands: Mapping[str, Command],
    name: str,
    options: list[str],
    parsers: Mapping[str, Callable[[list[str]], Line]],
) -> int:
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
        return _fail("alexnet", f"{problem}; {way_out}", 2, echo=_is_echo())
    try:
        with contextlib.redirect_stderr(io.StringIO()) if _is_echo() else contextlib.nullcontext():
            line = parsers[name](options) if name in parsers else parse(name, commands[name], options)
    except BrokenPipeError:
        raise
    except ValueError as error:
        return _fail(f"alexnet {name}", _sentence(error), 2, echo=_is_echo())
    except OSError as error:  # of this process alone, perhaps
        return _fail(f"alexnet {name}", _sentence(error), 2)
    except SystemExit as stop:  # tyro has shown the help, or said what is wrong
        return int(stop.code or 0)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is no part of the answer
            result, render = line.call()
            answer = dumps(result) if line.json else render(result)
    except KeyboardInterrupt as interrupt:
        code = 128 + getattr(interrupt, "signal", signal.SIGINT)
        return _fail(f"alexnet {name}", str(interrupt) or "Interrupted.", code)
    except Exception as error:
        if line.debug:
            traceback.print_exc()
        return _fail(f"alexnet {name}", _sentence(error), 1)
    if os.environ.get("RANK", "0") == "0":  # of several processes of torchrun, the first one answers
        _show(answer)
    return 0


def parse(name: str, command: Command, argv: list[str]) -> Line:
    """Read the options that `command` has as parameters. tyro says what is wrong and raises SystemExit."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> functools.partial[Answer]:
        return functools.partial(command, *args, **kwargs)

    @dataclass(frozen=True)
    class WholeLine(Line):
        call: Annotated[Any, arg(name="", constructor=bind)]
        json: Annotated[Flag, arg(help="Print one JSON object, and nothing else, on standard output.")] = False
        debug: Annotated[Flag, arg(help="Show the traceback of a failure.")] = False

    function = command.func if isinstance(command, functools.partial) else command
    return tyro.cli(
        WholeLine,
        prog=f"alexnet {name}",
        description=(inspect.getdoc(function) or "").partition("\nArgs:")[0],
        args=argv,
        config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.DisallowNone),
    )


def _overview(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands))
    whats = {name: (inspect.getdoc(command) or "").partition("\n")[0] for name, command in commands.items()}
    return "\n".join(
        (
            "usage: alexnet COMMAND ...",
            "",
            "AlexNet exactly as in 2012: from images to a trained network, and a look inside it.",
            "",
            *(f"  {name:<{width}}  {what}" for name, what in whats.items()),
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


def _is_echo() -> bool:
    """Whether torchrun gave the same words to another process on this machine, which says what is wrong with them."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def _fail(who: str, what: str, code: int, *, echo: bool = False) -> int:
    """Says it, unless another process does."""
    if not echo:
        print(f"{who}: {what}", file=sys.stderr)
    return code


def _sentence(error: Exception) -> str:
    """What went wrong, in words; what is no mistake of the user says how to see more."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ValueError | OSError | FloatingPointError) and str(error):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error} (--debug shows where)".split())
