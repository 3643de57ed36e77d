"""The completion of a command line by a shell: commands, options, their values, and files.

shtab makes the script from a description of all options. The script holds no Python: the tab key starts none.
"""

import dataclasses
import inspect
import re
from argparse import ArgumentParser
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import shtab

from alexnet.cli.options import Command, first_line, plain_type, settings
from alexnet.cli.train_options import SHORT_OPTIONS

Shell = Literal["bash", "zsh", "fish"]
FOR_ALL = {"--json": "Print one JSON object.", "--debug": "Show the traceback of a failure."}


def script(commands: Mapping[str, Command], shell: Shell) -> str:
    """What a shell reads to complete `alexnet` and its commands."""
    root = ArgumentParser(prog="alexnet")
    root.add_argument("-V", "--version", action="store_true", help="Show the version.")
    parsers = root.add_subparsers(dest="command")
    for name, command in commands.items():
        command = command.func if isinstance(command, partial) else command
        parser = parsers.add_parser(name, help=_plain(first_line(command)))
        _describe(parser, command)
        for option, about in FOR_ALL.items():
            parser.add_argument(option, action="store_true", help=about)
    return shtab.complete(root, shell=shell)


def _describe(parser: ArgumentParser, command: Command) -> None:
    """Add the arguments and options of a command."""
    hints = get_type_hints(command, include_extras=True)
    explained = dict(re.findall(r"^ *(\w+): (.+)$", (inspect.getdoc(command) or "").partition("Args:")[2], re.M))
    for parameter in inspect.signature(command).parameters.values():
        hint, about = plain_type(hints[parameter.name]), _plain(explained.get(parameter.name, ""))
        if dataclasses.is_dataclass(hint):  # the settings of a training
            _describe_settings(parser, hint)
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            _add(parser, parameter.name, hint, about, nargs="*" if get_origin(hint) is tuple else "?")
        elif hint is bool:
            parser.add_argument(f"--{parameter.name.replace('_', '-')}", action="store_true", help=about)
        else:
            _add(parser, f"--{parameter.name.replace('_', '-')}", hint, about)


def _describe_settings(parser: ArgumentParser, config: Any) -> None:
    """Add the settings of a training, and the short options that stand for some."""
    for name, hint in SHORT_OPTIONS.items():
        _add(parser, name, hint)
    for before, name, hint in settings(config):
        if hint is bool:
            for prefix in ("", "no-"):
                parser.add_argument(f"--{before}{prefix}{name}", action="store_true")
        elif f"--{before}{name}" not in SHORT_OPTIONS:
            _add(parser, f"--{before}{name}", hint)


def _add(parser: ArgumentParser, name: str, hint: Any, about: str = "", nargs: str | None = None) -> None:
    """Add an argument, or an option of one value: one of some words, perhaps a file, or what only the user knows."""
    choices = _choices(hint)
    added = parser.add_argument(name, nargs=nargs, choices=choices, help=about or None)
    if choices is None and _may_be_path(hint):
        added.complete = shtab.FILE  # type: ignore[attr-defined]


def _choices(hint: Any) -> tuple[str, ...] | None:
    """The words that are allowed, where they are listed."""
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    inner = map(_choices, map(plain_type, get_args(hint)))
    return next((found for found in inner if found is not None), None)


def _may_be_path(hint: Any) -> bool:
    """Whether a value is a path, or text that may be one (the name of a network or of a run)."""
    return hint in (Path, str) or any(_may_be_path(plain_type(each)) for each in get_args(hint))


def _plain(text: str) -> str:
    """Text for argparse, to which a per cent sign begins a format."""
    return text.replace("%", "%%")
