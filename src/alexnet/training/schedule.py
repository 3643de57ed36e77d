"""The learning rate over time (paper, section 5): divided by 10 when the validation error stops improving.

The changes made by hand in 2012 are in docs/specification.md, "The update" and "The bigger network".
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from alexnet.config import COLOUR_NOISE, AugmentConfig, Change, ScheduleConfig, TrainConfig
from alexnet.files.words import counted
from alexnet.ranges import UsageError


def change_at(config: ScheduleConfig, target: str, epoch: float) -> float | None:
    """The value that the last change of `target` (a layer, or `colour_noise`) gave it by `epoch`; None without one."""
    value = None
    for change in config.parsed_changes:
        if change.target == target and change.epoch <= epoch:
            value = change.value
    return value


def layer_learning_rate(config: ScheduleConfig, layer: str, epoch: float, common: float) -> float:
    """The layer's own learning rate where `config.changes` gives it one by `epoch`, else the `common` one."""
    own = change_at(config, layer, epoch)
    return common if own is None else own


def augment_at(config: TrainConfig, epoch: int) -> AugmentConfig:
    """The augmentation of an epoch: that of the configuration, with the colour noise that a change gave it."""
    noise = change_at(config.schedule, COLOUR_NOISE, epoch)
    return config.augment if noise is None else dataclasses.replace(config.augment, colour_noise=noise)


def check_targets(config: ScheduleConfig, layers: set[str]) -> None:
    """ValueError for a change whose target is neither colour noise nor one of `layers`, those with weights."""
    for change in config.parsed_changes:
        if change.target not in {COLOUR_NOISE, *layers}:
            raise UsageError(f"schedule.changes names '{change.target}', which is no layer with weights.")


def unreached(config: TrainConfig) -> str | None:
    """A sentence about the drops and changes that a training of so many epochs never comes to."""
    schedule = config.schedule
    drops = [f"{epoch:g}" for epoch in schedule.drop_epochs if epoch >= config.epochs and schedule.kind == "epochs"]
    changes = [f"'{text}'" for text in schedule.changes if Change.parse(text).epoch >= config.epochs]
    late = ([f"drops of the learning rate after epoch {', '.join(drops)}"] if drops else []) + (
        [f"changes {', '.join(changes)}"] if changes else []
    )
    if not late:
        return None
    return (
        f"the training ends after {counted(config.epochs, 'epoch')} and never comes to these: {'; '.join(late)}. "
        "Give more --epochs, or earlier --schedule.drop-epochs and --schedule.changes."
    )


@dataclass
class Schedule:
    """The state of the schedule. A checkpoint holds these fields."""

    drops: int = 0
    """plateau: drops so far."""
    best: float = float("inf")
    """plateau: lowest validation top-1 error so far."""
    waited: int = 0
    """plateau: evaluations since the best one or the last drop."""
    finished: bool = False
    """plateau: the error has stopped improving after the last drop."""

    def learning_rate(self, config: ScheduleConfig, lr: float, step: int, steps_per_epoch: int) -> float:
        """The common learning rate of step number `step` (from 0), in a training that starts at `lr`."""
        if config.kind == "epochs":
            drops = sum(step >= round(epoch * steps_per_epoch) for epoch in config.drop_epochs)
        else:
            drops = self.drops
        learning_rate = lr / config.divisor**drops
        if step < config.warmup_steps:
            learning_rate *= (step + 1) / config.warmup_steps
        return learning_rate

    def observe(self, config: ScheduleConfig, error: float) -> bool:
        """Take note of a validation error; True when the learning rate drops now."""
        if config.kind != "plateau":
            return False
        if error < self.best:
            self.best, self.waited = error, 0
            return False
        self.waited += 1
        if self.waited < config.patience:
            return False
        self.waited = 0
        if self.drops == config.max_drops:
            self.finished = True
            return False
        self.drops += 1
        return True

    def to_json(self) -> dict[str, float | int | bool | None]:
        """The fields as JSON values; `best` is null before the first evaluation."""
        return asdict(self) | {"best": None if self.best == float("inf") else self.best}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Schedule":
        """The inverse of `to_json`."""
        best = float("inf") if values["best"] is None else values["best"]
        return cls(**(dict(values) | {"best": best}))  # type: ignore[arg-type]
