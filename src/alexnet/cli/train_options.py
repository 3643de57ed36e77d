"""The options of `train`: a recipe, a network or a run gives the defaults, and some options stand for settings."""

import functools
from collections.abc import Callable
from dataclasses import replace

from alexnet.cli.options import Answer, Command, Line, parse
from alexnet.config import TrainConfig, load_config
from alexnet.networks import network
from alexnet.recipes import recipe


def parser(train: Command) -> Callable[[list[str]], Line]:
    """What reads the command line of `train`."""
    return functools.partial(parse_train, train)


def parse_train(train: Command, argv: list[str]) -> Line:
    """Read the options of `train`; their defaults are those of the recipe, or of the run that is resumed.

    Raises ValueError for an unknown recipe or network, and for a run that was started with another recipe.
    """
    origin, argv = take("--from", argv)
    if origin is not None:
        argv = [*argv, "--start-from", origin]
    often, argv = take("--checkpoint-every", argv)
    if often is not None:
        number = often.removesuffix("m")
        argv = [*argv, "--checkpoint.every-steps" if number == often else "--checkpoint.every-minutes", number]
    chosen, argv = take("--network", argv)
    named, _ = take("--recipe", argv)

    def defaults(config: TrainConfig) -> functools.partial[Answer]:
        if chosen is not None:
            classes = config.network.classes
            config = replace(config, network=replace(network(chosen).config, classes=classes))
        return functools.partial(train, config=config)

    line = parse("train", defaults(recipe(named or "paper")), argv)
    _, run = line.call.args
    if not (run / "config.json").is_file():
        return line
    started = load_config(run / "config.json")
    if named not in (None, started.recipe):
        raise ValueError(
            f"{run} was started with --recipe {started.recipe}; resume it with that, or choose another folder."
        )
    return parse("train", defaults(started), argv)


def take(option: str, argv: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option, and the arguments without it; None and all of them where it is not given."""
    for i, word in enumerate(argv):
        if word == option and i + 1 < len(argv):
            return argv[i + 1], argv[:i] + argv[i + 2 :]
        if word.startswith(f"{option}="):
            return word.partition("=")[2], argv[:i] + argv[i + 1 :]
    return None, argv
