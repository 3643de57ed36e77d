"""Arms: the configurations that experiments compare, each stated as its differences from a base of the scale.

A run is an arm with a seed. What identifies it is what it computes, not its name: its settings, its images, its seed
and, when it is fine-tuned, the run that it starts from. Arms that several experiments name are so trained once.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from alexnet.config import NetworkConfig, TrainConfig
from alexnet.networks import network

Data = str
"""The role of a data set: `cifar10` for the four-layer network, `images` for the eight-layer one, `wider`, of more
classes, for pre-training."""
LEFT_OUT = ("device", "workers", "compile", "dtype", "honour_exif", "start_from", "parallel", "recipe", "seed")
"""Settings that say where or how fast a run computes, or that its data decides."""
Changes = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Arm:
    """A configuration: the base of `data`, with `changes`."""

    label: str
    """In a legend: "without dropout"."""
    data: Data = "images"
    changes: Changes = ()
    """Settings that differ from the base's, such as ("network.dropout", 0.0), in the order of their names."""
    start_from: "Arm | None" = None
    """The arm whose run of the same seed is fine-tuned."""
    measures: tuple[str, ...] = ("ten_views",)
    """What is measured beside the errors of the centre view: names in `measures.MEASURES`."""

    def but(self, label: str, **changes: Any) -> "Arm":
        """The arm with more changes, `network__dropout=0.0` for `network.dropout`."""
        named = {name.replace("__", "."): value for name, value in changes.items()}
        merged = tuple(sorted((dict(self.changes) | named).items()))
        return dataclasses.replace(self, label=label, changes=merged)

    def measured(self, *measures: str) -> "Arm":
        """The arm, with this measured beside the errors."""
        return dataclasses.replace(self, measures=measures)


BASE = Arm("as in the paper")
"""The paper's network and training, as far as the scale allows."""
FOUR_LAYERS = Arm("with normalisation", "cifar10")
"""The program's network for CIFAR-10."""


def settings_of(name: str, *fields: str) -> dict[str, Any]:
    """Settings of a named network (`alexnet.networks`), as `Arm.but` takes them."""
    known = network(name).config
    return {f"network__{each}": getattr(known, each) for each in fields}


def changed(config: TrainConfig, changes: Changes) -> TrainConfig:
    """The configuration with the changes. `network.dropout` is a setting of the network, `epochs` one of the training.

    A change of the epochs moves the drops of the learning rate to the same fractions of them, unless these change too.
    """
    values = dict(changes)
    if "epochs" in values and "schedule.drop_epochs" not in values:
        factor = values["epochs"] / config.epochs
        values["schedule.drop_epochs"] = tuple(round(each * factor, 3) for each in config.schedule.drop_epochs)
    for name, value in values.items():
        group, _, setting = name.rpartition(".")
        if group:
            config = dataclasses.replace(
                config, **{group: dataclasses.replace(getattr(config, group), **{setting: value})}
            )
        else:
            config = dataclasses.replace(config, **{setting: value})
    return config


def differences(settings: Any, default: Any) -> dict[str, Any]:
    """The settings that have other values than the defaults, by their dotted names, as JSON values.

    Settings that are added to the program later, with a default that changes nothing, leave it as it is.
    """
    found: dict[str, Any] = {}
    for name in (each.name for each in dataclasses.fields(settings)):
        value, usual = getattr(settings, name), getattr(default, name)
        if dataclasses.is_dataclass(value):
            found |= {f"{name}.{inner}": each for inner, each in differences(value, usual).items()}
        elif value != usual and name not in LEFT_OUT:
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


@dataclass(frozen=True)
class Run:
    """An arm with a seed, on the images that are there."""

    arm: Arm
    seed: int
    config: TrainConfig
    data: str
    """Identity of the data set."""
    start: "Run | None" = None
    """The run that is fine-tuned."""
    words: str = field(default="", compare=False)
    """The changes that make a difference, in words."""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What differs from the paper's settings, by dotted names."""
        return differences(
            dataclasses.replace(self.config, checkpoint=TrainConfig().checkpoint),
            TrainConfig(network=NetworkConfig(classes=self.config.network.classes)),
        )

    @cached_property
    def identity(self) -> str:
        """SHA-256 of what the run computes, without its seed."""
        content = [self.settings, self.config.network.classes, self.data, self.start.identity if self.start else None]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def folder(self) -> str:
        """A name for the run's arm: its changes, as far as they are short, and the beginning of its identity."""
        words = ",".join((self.arm.data, *(["finetuned"] if self.start else []), *([self.words] if self.words else [])))
        return f"{words[:80]}-{self.identity[:8]}"

    @cached_property
    def name(self) -> str:
        """`folder` and seed."""
        return f"{self.folder}/{self.seed}"


def in_words(base: TrainConfig, changes: Changes) -> str:
    """The changes that make a difference to the base: "dropout=0"."""
    real = [(name, value) for name, value in changes if changed(base, ((name, value),)) != base]
    return ",".join(f"{name.rpartition('.')[2]}={_short(value)}" for name, value in real)


def _short(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "+".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
