"""The options of `train`: a recipe, a network or a run gives the defaults, and some options stand for settings."""

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from alexnet.cli.options import Answer, Command, Line, parse
from alexnet.config import NetworkConfig, TrainConfig, load_config
from alexnet.networks import NETWORKS, network
from alexnet.ranges import UsageError
from alexnet.recipes import RECIPES, recipe

SHORT_OPTIONS: dict[str, Any] = {
    "--recipe": Literal[tuple(RECIPES)],  # pyright: ignore[reportInvalidTypeForm]
    "--network": Literal[tuple(NETWORKS)],  # pyright: ignore[reportInvalidTypeForm]
    "--from": Path,
    "--checkpoint-every": str,
}
"""Options beside those of the settings, and what they take."""


def parser(train: Command) -> Callable[[list[str]], Line]:
    """What reads the command line of `train`."""
    return functools.partial(parse_train, train)


def parse_train(train: Command, argv: list[str]) -> Line:
    """Read the options of `train`; their defaults are those of the recipe, or of the run that is resumed.

    A recipe adapts to `--epochs` and to the number of training images. `--from RUN` brings RUN's network, unless
    `--network` names another.

    Raises ValueError for an unknown recipe or network, and for a run that was started with another recipe.
    """
    short, argv = take("--from", argv)
    long, argv = take("--start-from", argv)
    origin = long if short is None else short
    if origin is not None:
        argv = [*argv, "--start-from", origin]
    often, argv = take("--checkpoint-every", argv)
    if often is not None:
        number = often.removesuffix("m")
        argv = [*argv, "--checkpoint.every-steps" if number == often else "--checkpoint.every-minutes", number]
    chosen, argv = take("--network", argv)
    named, _ = take("--recipe", argv)
    wanted, _ = take("--epochs", argv)
    epochs = int(wanted) if wanted is not None and wanted.isdecimal() and int(wanted) > 0 else None

    def defaults(config: TrainConfig) -> functools.partial[Answer]:
        if chosen is not None:
            config = with_network(config, network(chosen).config)
        elif origin is not None and (Path(origin) / "config.json").is_file():
            config = with_network(config, load_config(Path(origin) / "config.json").network)
        return functools.partial(train, config=config)

    line = parse("train", defaults(recipe(named or "paper", epochs=epochs)), argv, SHORT_OPTIONS)
    store, run = line.call.args
    if not (run / "config.json").is_file():
        images = None if epochs else training_images(store)
        return parse("train", defaults(recipe(named or "paper", epochs=epochs, images=images)), argv)
    started = load_config(run / "config.json")
    if named not in (None, started.recipe):
        raise UsageError(
            f"{run} was started with --recipe {started.recipe} and this is --recipe {named}; resume it with "
            f"{started.recipe}, or choose another folder."
        )
    if os.environ.get("WORLD_SIZE", "1") == "1":  # one rank may resume a run of several
        started = replace(started, parallel="none")
    return parse("train", defaults(with_epochs(started, epochs)), argv)


def with_network(config: TrainConfig, network: NetworkConfig) -> TrainConfig:
    """The configuration with another network, for the same classes."""
    return replace(config, network=replace(network, classes=config.network.classes))


def with_epochs(started: TrainConfig, epochs: int | None) -> TrainConfig:
    """The configuration of a run, its drops moved to other `epochs` where they are still those of its recipe."""
    if epochs is None or started.recipe not in RECIPES:
        return started
    usual, moved = (recipe(started.recipe, epochs=each).schedule.drop_epochs for each in (started.epochs, epochs))
    if started.schedule.drop_epochs != usual:
        return started
    return replace(started, schedule=replace(started.schedule, drop_epochs=moved))


def training_images(store: Path) -> int | None:
    """The number of training images of a store; None where there is no store, which `train` will say."""
    from alexnet.data.store.info import read_info

    try:
        return read_info(store)["splits"]["train"]["images"]
    except (ValueError, KeyError, OSError):
        return None


def take(option: str, argv: list[str]) -> tuple[str | None, list[str]]:
    """The value of an option, and the arguments without it; None and all of them where it is not given."""
    for i, word in enumerate(argv):
        if word == option and i + 1 < len(argv):
            return argv[i + 1], argv[:i] + argv[i + 2 :]
        if word.startswith(f"{option}="):
            return word.partition("=")[2], argv[:i] + argv[i + 1 :]
    return None, argv
