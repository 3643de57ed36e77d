"""The command line of `train`: recipe, network or run give the defaults, and some options are short for others."""

import functools
from dataclasses import replace

from alexnet.cli.command_line import Answer, Command, Line, parse
from alexnet.config import TrainConfig, load_config
from alexnet.networks import network
from alexnet.recipes import recipe


def parse_train(train: Command, argv: list[str]) -> Line:
    """The options of `train`, whose defaults are those of the recipe or of the run that is continued.

    `--from`, `--network` and `--checkpoint-every` stand for settings. ValueError for a recipe or network that there is
    not, and for a run that was started with another recipe.
    """
    origin, argv = taken("--from", argv)
    if origin is not None:
        argv = [*argv, "--start-from", origin]
    often, argv = taken("--checkpoint-every", argv)
    if often is not None:
        number = often.removesuffix("m")
        argv = [*argv, "--checkpoint.every-steps" if number == often else "--checkpoint.every-minutes", number]
    chosen, argv = taken("--network", argv)
    named, _ = taken("--recipe", argv)

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
            f"{run} was started with --recipe {started.recipe}; continue with that, or name another folder."
        )
    return parse("train", defaults(started), argv)


def taken(option: str, argv: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option, and the words without it; None and all of them where it is not there."""
    for i, word in enumerate(argv):
        if word == option and i + 1 < len(argv):
            return argv[i + 1], argv[:i] + argv[i + 2 :]
        if word.startswith(f"{option}="):
            return word.partition("=")[2], argv[:i] + argv[i + 1 :]
    return None, argv
