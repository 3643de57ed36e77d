"""The command line `alexnet`. The commands are in `commands`; what they share is in `run` and `options`."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from keyword import iskeyword

from alexnet.cli import train_options
from alexnet.cli.commands import NAMES
from alexnet.cli.options import Command
from alexnet.cli.run import run


def command(name: str) -> Command:
    """The function of the command `name`. One that Python reserves (import) has an underscore after it."""
    name += "_" * iskeyword(name)
    return getattr(import_module(f"alexnet.cli.commands.{name}"), name)


COMMANDS: Mapping[str, Command] = {name: command(name) for name in NAMES}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run(COMMANDS, argv, parsers={"train": train_options.parser(COMMANDS["train"])})
