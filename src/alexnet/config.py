"""Every setting of a training, in one place: frozen dataclasses whose defaults are the paper.

The defaults are those of "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky,
Sutskever, Hinton, 2012). A recipe (`alexnet.recipes`) states only where it differs and why. The resolved
configuration is written to the run folder as `config.json` and read back with `load_config`.
"""

import dataclasses
import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints


@dataclass(frozen=True)
class NetworkConfig:
    """The network (paper, section 3). Eight layers with weights: conv1 ... conv5, fc6, fc7, fc8."""

    classes: int = 1000
    """Number of classes; a training takes it from its store."""
    input_size: int = 224
    """Height and width of the picture that the network sees, in pixels."""
    width: float = 1.0
    """Factor on the kernels of conv1 to conv5 and the units of fc6 and fc7, rounded to whole kernels per tower."""
    lrn_alpha: float = 1e-4
    """Response normalisation: factor on the sum of squares over 5 neighbouring kernels (not divided by 5)."""
    dropout: float = 0.5
    """Probability that a unit of fc6 and fc7 is set to 0 in training; outputs are scaled by the rest in testing."""
    initial_std: tuple[float, float, float, float, float, float, float, float] = (
        0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01
    )  # fmt: skip
    """Standard deviation of the Gaussian initial weights of conv1 ... conv5, fc6, fc7, fc8."""
    initial_bias: tuple[float, float, float, float, float, float, float, float] = (0, 1, 0, 1, 1, 1, 1, 0)
    """Initial biases of conv1 ... conv5, fc6, fc7, fc8."""


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to each training picture (paper, section 4.1)."""

    crop: bool = True
    """Cut out a random patch of the network's input size (otherwise the centre)."""
    mirror: bool = True
    """Mirror left to right with probability 1/2."""
    colour: float = 0.1
    """Standard deviation of the random multiples of the RGB principal components; 0 turns colour noise off."""


@dataclass(frozen=True)
class OptimConfig:
    """Stochastic gradient descent with the learning rate inside the velocity (paper, section 5)."""

    lr: float = 0.01
    """Learning rate at the start, the same for all layers."""
    momentum: float = 0.9
    """Part of the velocity that is kept from step to step."""
    weight_decay: float = 0.0005
    """Weight decay inside the update rule: v <- momentum v - weight_decay lr w - lr gradient."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate falls."""

    kind: Literal["plateau", "epochs"] = "plateau"
    """plateau: divide when the validation error stops improving (paper); epochs: divide at the epochs of `drops`."""
    factor: float = 10.0
    """What the learning rate is divided by at each drop."""
    patience: int = 5
    """plateau: evaluations without a better validation top-1 error before a drop (the paper judged by eye)."""
    max_drops: int = 3
    """plateau: number of drops (paper: three); after the last one the training stops at the next plateau."""
    drops: tuple[float, ...] = ()
    """epochs: the learning rate falls when this many epochs are done; fractions are allowed."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises evenly from 0 to `lr` at the start (paper: none)."""


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run folder gets a checkpoint. The last two and the best one are kept."""

    every_epochs: int = 1
    """Epochs between checkpoints; one is also written at the end, and on Ctrl-C."""
    every_steps: int = 0
    """Steps between checkpoints inside an epoch; 0: none."""
    every_minutes: float = 0
    """Minutes between checkpoints inside an epoch, beside those of `every_steps`; 0: none."""

    def __post_init__(self) -> None:
        if self.every_epochs < 1 or self.every_steps < 0 or not self.every_minutes >= 0:
            raise ValueError("checkpoint: every_epochs must be at least 1, every_steps and every_minutes at least 0.")


@dataclass(frozen=True)
class TrainConfig:
    """One training, completely. Defaults: the paper."""

    recipe: str = "paper"
    """The recipe that this configuration started from."""
    epochs: int = 90
    """Passes over the training pictures."""
    batch_size: int = 128
    """Pictures per step."""
    seed: int = 0
    """Initial weights, order, crops, mirrors, colours and dropout are functions of this number."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of activations and products (weights and update stay float32). auto: bfloat16 where the
    processor or accelerator computes in it, else float32."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu), cpu, cuda, cuda:1 or mps."""
    compile: bool = False
    """Compile the network with torch.compile (needs a C++ compiler on a CPU)."""
    workers: int = 0
    """Threads that decode and crop pictures in the background; 0: one per processor core, at most 8."""
    evaluate_every: int = 1
    """Epochs between evaluations on the validation split (centre view)."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.evaluate_every < 1:
            raise ValueError("epochs, batch_size and evaluate_every must be at least 1.")
        if self.optim.lr < 0:
            raise ValueError(f"optim.lr is {self.optim.lr}; a learning rate cannot be negative.")
        if not 0 <= self.network.dropout < 1:
            raise ValueError(f"network.dropout is {self.network.dropout}; it must be at least 0 and below 1.")


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the whole configuration as JSON."""
    path.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def load_config(path: Path) -> TrainConfig:
    """Read what `save_config` wrote. ValueError for unknown keys (with the nearest right one) and wrong types."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a configuration: {error}.") from None
    return from_dict(TrainConfig, values, str(path))


def from_dict(cls: type, values: Any, where: str) -> Any:
    """Build the dataclass `cls` from plain JSON values; ValueError naming `where` for what does not fit."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected an object with the fields of {cls.__name__}.")
    types = get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0.0)
            raise ValueError(f"{where}: unknown setting '{key}'; did you mean '{near[0]}'?")
        expected = types[key]
        if dataclasses.is_dataclass(expected):
            arguments[key] = from_dict(expected, value, f"{where}, {key}")  # type: ignore[arg-type]
        elif get_origin(expected) is tuple:
            if not isinstance(value, list) or not all(isinstance(x, int | float) for x in value):
                raise ValueError(f"{where}: {key} must be a list of numbers, not {value!r}.")
            arguments[key] = tuple(value)
        elif get_origin(expected) is Literal:
            if value not in expected.__args__:
                raise ValueError(f"{where}: {key} must be one of {', '.join(expected.__args__)}, not {value!r}.")
            arguments[key] = value
        elif isinstance(value, bool) != (expected is bool) or not isinstance(
            value, int | float if expected is float else expected
        ):
            raise ValueError(f"{where}: {key} must be of type {expected.__name__}, not {value!r}.")
        else:
            arguments[key] = value
    return cls(**arguments)
