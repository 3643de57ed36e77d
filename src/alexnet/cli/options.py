"""Options from signatures: a command's parameters are its arguments and options, its docstring is its help.

A parameter before `/` is positional, one after `*` is an option; "Args:" in the docstring explains each. Every command
also takes --json and --debug.
"""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import arg

from alexnet.ranges import UsageError, check_arguments

Answer = tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]
"""What a command returns: its result as JSON values, and the function that renders it for people."""
Command = Callable[..., Answer]
Listed = TypeVar("Listed", bound=Command)

Flag = tyro.conf.FlagCreatePairsOff[bool]
Device = Annotated[str, arg(help="auto (cuda, then mps, then cpu), cpu, cuda, cuda:1 or mps.")]
MoreRuns = Annotated[tuple[Path, ...], arg(metavar="[RUN ...]")]
MoreImages = Annotated[tuple[Path, ...], arg(metavar="[IMAGE ...]", help="More images.")]

WIDEST = 100
"""Columns of a help text on a wide terminal."""
ARCHIVES = re.compile(r"\.(zip|7z|rar|tgz|tar(\.\w+)?)$", re.IGNORECASE)
"""Names of archives."""
INDENT = "  "
"""Of a help text: tyro joins lines unless the next one is indented."""
BLANK = "\u200b"
"""A line between paragraphs that tyro, which would make two of an empty one, does not see as empty."""

_LISTS: dict[Command, dict[str, Mapping[str, str]]] = {}


@dataclass(frozen=True)
class Line:
    """A parsed command line: the command with its arguments, and the options that every command takes."""

    call: functools.partial[Answer]
    json: bool
    debug: bool


class WithoutBlanks:
    """The stream `sys.stdout` is, to which the help is written with empty lines in place of `BLANK`, which a terminal
    may not have."""

    def __init__(self) -> None:
        self._stream = sys.stdout

    def write(self, text: str) -> int:
        return self._stream.write(text.replace(BLANK, ""))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def lists(heading: str, names: Mapping[str, str]) -> Callable[[Listed], Listed]:
    """Decorate a command so that its help lists `names`, each with its line of text, under `heading`."""

    def add(command: Listed) -> Listed:
        _LISTS[command] = {heading: names} | _LISTS.get(command, {})
        return command

    return add


def first_line(documented: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def parse(name: str, command: Command, argv: list[str], more: Collection[str] = ()) -> Line:
    """Read the arguments and options of `command`. tyro prints what is wrong, or the help, and raises SystemExit.
    `more` are options that the caller has read.

    ValueError for an unknown option, a number that is out of its range, a URL, or an archive where a folder belongs.
    """
    check_options(name, argv, [*option_names(command), *more])

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> functools.partial[Answer]:
        return functools.partial(command, *args, **kwargs)

    @dataclass(frozen=True)
    class WholeLine(Line):
        call: Annotated[Any, arg(name="", constructor=bind)]
        json: Annotated[Flag, arg(help="Print one JSON object, and nothing else, on standard output.")] = False
        debug: Annotated[Flag, arg(help="Show the traceback of a failure.")] = False

    with contextlib.redirect_stdout(cast(IO[str], WithoutBlanks())):
        line = tyro.cli(
            WholeLine,
            prog=f"alexnet {name}",
            description=description(command.func if isinstance(command, functools.partial) else command),
            args=argv,
            config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.DisallowNone),
        )
    check(command.func if isinstance(command, functools.partial) else command, line.call)
    return line


def option_names(command: Command) -> Iterator[str]:
    """All options of a command, such as --size."""
    yield from ("--json", "--debug", "--help")
    hints = get_type_hints(command.func if isinstance(command, functools.partial) else command, include_extras=True)
    for parameter in inspect.signature(command).parameters.values():
        hint = plain_type(hints[parameter.name])
        if dataclasses.is_dataclass(hint):  # the settings of a training
            for before, name, kind in settings(hint):
                yield from (f"--{before}{no}{name}" for no in (("", "no-") if kind is bool else ("",)))
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            yield f"--{parameter.name.replace('_', '-')}"


def settings(config: Any, before: str = "") -> Iterator[tuple[str, str, Any]]:
    """Group, name and type of each setting of a dataclass: `network.`, `width`, float."""
    hints = get_type_hints(config, include_extras=True)
    for field in dataclasses.fields(config):
        name, hint = field.name.replace("_", "-"), plain_type(hints[field.name])
        if dataclasses.is_dataclass(hint):
            yield from settings(hint, f"{before}{name}.")
        else:
            yield before, name, hint


def plain_type(hint: Any) -> Any:
    """A type without its annotations."""
    return plain_type(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def check_options(name: str, argv: list[str], known: Collection[str]) -> None:
    """UsageError for an option that is not known, with the one that may have been meant."""
    for word in itertools.takewhile(lambda word: word != "--", argv):
        option = word.partition("=")[0].replace("_", "-")
        if not option.startswith("--") or option in known:
            continue
        group, _, last = option[2:].rpartition(".")
        # A group makes no two names alike. Of settings with one name, that of this group counts.
        in_order = sorted(known, key=lambda each: each[2:].startswith(group))
        ends = {each[2:].rpartition(".")[2]: each for each in in_order}
        near = difflib.get_close_matches(last, ends, n=1, cutoff=0.7 if len(last) > 3 else 0.5)
        advice = f"did you mean '{ends[near[0]]}'?" if near else f"alexnet {name} --help lists all."
        raise UsageError(f"there is no option '{option}'; {advice}")


def check(command: Command, call: functools.partial[Answer]) -> None:
    """ValueError for a number that is out of its range, a URL, or an archive where a folder belongs."""
    signature = inspect.signature(command)
    arguments = signature.bind(*call.args, **call.keywords).arguments

    def shown(name: str) -> str:
        is_option = signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        return "--" + name.replace("_", "-") if is_option else name

    check_arguments(command, arguments.items(), shown)
    for name, value in arguments.items():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path):
                check_path(path, may_be_archive=name == "source")


def check_path(path: Path, *, may_be_archive: bool = False) -> None:
    """ValueError for a URL, and for an archive unless that is allowed."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):  # Path has made one slash of two
        url = re.sub(":/+", "://", str(path), count=1)
        raise UsageError(f"{url} is a URL; download it first, for example with curl -LO, and give the file.")
    if not may_be_archive and ARCHIVES.search(path.name) and path.is_file():
        raise UsageError(f"{path} is an archive; unpack it first and give what it holds.")


def description(command: Command) -> str:
    """The docstring of a command up to "Args:", and its lists, wrapped for the terminal."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    paragraphs = (inspect.getdoc(command) or "").partition("\nArgs:")[0].strip().split("\n\n")
    paragraphs += [_table(heading, names, width) for heading, names in _LISTS.get(command, {}).items()]
    return f"\n{BLANK}\n".join(_wrapped(paragraph, width) for paragraph in paragraphs)


def _table(heading: str, names: Mapping[str, str], width: int) -> str:
    first = max(map(len, names)) + 4
    lines = [
        textwrap.fill(about, width - 2, initial_indent=f"  {name}".ljust(first), subsequent_indent=" " * first)
        for name, about in names.items()
    ]
    return "\n".join([f"{heading}:", *lines])


def _wrapped(paragraph: str, width: int) -> str:
    """A paragraph wrapped and indented; one that has indented lines (an example, a list) only indented."""
    if "\n " in paragraph or paragraph.startswith(" "):
        return textwrap.indent(paragraph, INDENT)
    return textwrap.fill(" ".join(paragraph.split()), width, initial_indent=INDENT, subsequent_indent=INDENT)
