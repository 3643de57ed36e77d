"""The learning rate over time (paper, section 5): divided by 10 when the validation error stops improving."""

from dataclasses import asdict, dataclass

from alexnet.config import ScheduleConfig


def changed(config: ScheduleConfig, what: str, epoch: float) -> float | None:
    """The value that the last change of `what` (a layer, or `colour`) gave it by `epoch`; None for none."""
    value = None
    for change in config.parsed_changes:
        if change.target == what and change.epoch <= epoch:
            value = change.value
    return value


def layer_rate(config: ScheduleConfig, layer: str, epoch: float, common: float) -> float:
    """The learning rate of one layer: its own where `config.changes` gives it one by `epoch`, else the common one."""
    own = changed(config, layer, epoch)
    return common if own is None else own


@dataclass
class Schedule:
    """The learning rate at each step. All its memory is in these fields, so that a checkpoint can hold it."""

    drops: int = 0
    """plateau: drops made so far."""
    best: float = float("inf")
    """plateau: lowest validation top-1 error since the start."""
    waited: int = 0
    """plateau: evaluations since the best or the last drop."""
    finished: bool = False
    """plateau: the error has stopped improving after the last drop."""

    def learning_rate(self, config: ScheduleConfig, lr: float, step: int, steps_per_epoch: int) -> float:
        """The rate for step number `step` (from 0) of a training that starts at `lr`."""
        if config.kind == "epochs":
            drops = sum(step >= round(epoch * steps_per_epoch) for epoch in config.drop_epochs)
        else:
            drops = self.drops
        rate = lr / config.divisor**drops
        if step < config.warmup_steps:
            rate *= (step + 1) / config.warmup_steps
        return rate

    def observe(self, config: ScheduleConfig, error: float) -> bool:
        """Take note of a validation error; True when the rate falls now."""
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

    def state(self) -> dict[str, float | int | bool | None]:
        """The fields, for a checkpoint (`best` is null before the first evaluation)."""
        values = asdict(self)
        return values | {"best": None if self.best == float("inf") else self.best}

    @classmethod
    def from_state(cls, state: dict[str, object]) -> "Schedule":
        """The inverse of `state`."""
        values = dict(state)
        if values["best"] is None:
            values["best"] = float("inf")
        return cls(**values)  # type: ignore[arg-type]
