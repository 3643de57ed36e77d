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
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class NetworkConfig:
    """The network (paper, section 3). Eight layers with weights: conv1 ... conv5, fc6, fc7, fc8.

    Layers of which all have one setting (kernels, padding, initial values) list it first to last.
    """

    form: Literal["eight-layer", "four-layer"] = "eight-layer"
    """eight-layer: the network of the paper; four-layer: the one it used on CIFAR-10 (conv1, conv2, local3, local4)."""
    classes: int = 1000
    """Number of classes; a training takes it from its store."""
    input_size: int = 224
    """Height and width of the image that the network sees, in pixels."""
    width: float = 1.0
    """Factor on the kernels of the convolutions and the units of fc6 and fc7, rounded to whole kernels per tower."""
    towers: int = 2
    """Parts that see only themselves in conv2, conv4 and conv5 (paper: one per GPU). 1: every layer sees all."""
    exchange: bool = True
    """Whether conv3, fc6 and fc7 see both towers; without, only fc8 does."""
    kernels: tuple[int, ...] = (96, 256, 384, 384, 256)
    """Kernels of conv1 ... conv5, all towers together."""
    units: int = 4096
    """Units of fc6 and of fc7, all towers together."""
    padding: tuple[int, ...] = (0, 2, 1, 1, 1)
    """Zeros around the input of conv1 ... conv5."""
    overhang: bool = True
    """Whether conv1's last window may reach past the right and lower edge, over zeros (224 pixels: 55 outputs)."""
    activation: Literal["relu", "tanh"] = "relu"
    """Nonlinearity after each layer but the last (paper, section 3.1)."""
    conv1_order: Literal["activation, norm, pool", "norm, pool, activation"] = "activation, norm, pool"
    """What follows conv1, in this order; conv2 is always activated first."""
    norm: Literal["per tower", "across towers", "none"] = "per tower"
    """Local response normalisation after conv1 and conv2 (paper, section 3.3), and whether windows cross the towers."""
    lrn_alpha: float = 1e-4
    """Response normalisation: factor on the sum of squares over 5 neighbouring kernels (not divided by 5)."""
    lrn_k: float = 2.0
    """Response normalisation: constant added to the sum of squares."""
    spatial_norm: float = 0.0
    """Normalisation within each map after norm2: factor on the mean square of its 5x5 window; 0 for none."""
    pool_size: int = 3
    """Height and width of the pooling windows (paper, section 3.4)."""
    pool_stride: int = 2
    """Pixels between pooling windows; less than `pool_size`: they overlap."""
    pool_clipped: bool = True
    """Whether a last window that is cut off by the edge counts."""
    sixth_conv: bool = False
    """Whether a sixth convolution over pool5, as wide as conv5, goes before fc6 (paper, section 6)."""
    without: tuple[str, ...] = ()
    """Layers left out, of conv2 ... conv5, fc6 and fc7."""
    dropout: float = 0.5
    """Probability that a unit of fc6 and fc7 is set to 0 in training (paper, section 4.2)."""
    dropout_scaled: Literal["testing", "training"] = "testing"
    """testing: outputs are multiplied by 1 - p in testing (2012); training: divided by it in training (inverted)."""
    dropout_place: Literal["after", "before"] = "after"
    """Whether dropout acts on the outputs of fc6 and fc7 or on their inputs."""
    initial_std: tuple[float, ...] = (0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
    """Standard deviation of the Gaussian initial weights of each layer; empty: PyTorch's own initial values."""
    initial_bias: tuple[float, ...] = (0, 1, 0, 1, 1, 1, 1, 0)
    """Initial biases of each layer."""


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to each training image (paper, section 4.1)."""

    order: Literal["shuffled", "fixed"] = "shuffled"
    """shuffled: every epoch in another order; fixed: drawn once and kept (original program)."""
    crop: bool = True
    """Cut out a random patch of the network's input size (otherwise the centre)."""
    last_offset: bool = False
    """Whether patches may also end at the last row and column: 33 x 33 places of 224 in 256 pixels, not 32 x 32."""
    mirror: bool = True
    """Mirror left to right with probability 1/2."""
    sharing: int = 1
    """Consecutive images that share place and mirroring of their patches (original program: 32)."""
    mean: Literal["own", "central"] = "own"
    """Which part of the mean image is removed: the patch's own, or always the central one, never mirrored."""
    colour: float = 0.1
    """Standard deviation of the random multiples of the RGB principal components; 0 turns colour noise off."""
    colour_rule: Literal["eigenvalues", "standard deviations"] = "eigenvalues"
    """What the multiples multiply: eigenvalues (paper), or their roots, all then divided by 1 + `colour` (original)."""


@dataclass(frozen=True)
class OptimConfig:
    """Stochastic gradient descent with the learning rate inside the velocity (paper, section 5)."""

    lr: float = 0.01
    """Learning rate at the start, the same for all layers (`schedule.changes` gives layers their own)."""
    bias_rate: float = 1.0
    """Factor on the learning rate of biases."""
    momentum: float = 0.9
    """Part of the velocity that is kept from step to step."""
    weight_decay: float = 0.0005
    """Weight decay inside the update rule: v <- momentum v - weight_decay lr w - lr gradient."""
    undecayed: tuple[str, ...] = ()
    """What weight decay leaves alone: layers by name (their weights), `bias` (all biases)."""


class Change(NamedTuple):
    """From `epoch` (epochs done) on, `what` (a layer or `colour`) has `value`; None: the common rate again."""

    epoch: float
    what: str
    value: float | None

    @classmethod
    def read(cls, text: str) -> "Change":
        """Read "EPOCH WHAT VALUE"; ValueError for anything else."""
        try:
            epoch, what, value = text.split()
            change = cls(float(epoch), what, None if value == "rest" else float(value))
        except ValueError:
            raise ValueError(
                f"schedule.changes: '{text}' is not EPOCH WHAT VALUE, as '67 conv1 1e-5', '67 colour 0', '9 fc8 rest'."
            ) from None
        if change.epoch < 0 or (change.value is not None and change.value < 0):
            raise ValueError(f"schedule.changes: '{text}' has a negative number.")
        if what == "colour" and (change.value is None or not change.epoch.is_integer()):
            raise ValueError(f"schedule.changes: '{text}': colour noise changes to a number, at a whole epoch.")
        return change


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
    changes: tuple[str, ...] = ()
    """Changes made by hand, each "EPOCH WHAT VALUE": a layer's own rate ("67 conv1 1e-5"; 0 freezes it, "9 fc8 rest"
    gives it back to the common rate), or the colour noise ("67 colour 0")."""

    @property
    def table(self) -> "tuple[Change, ...]":
        """`changes`, read and in the order of their epochs. ValueError for what cannot be read."""
        return tuple(sorted((Change.read(text) for text in self.changes), key=lambda change: change.epoch))

    def __post_init__(self) -> None:
        _ = self.table


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
    start_from: str = ""
    """A run whose trained weights, but for the last layer's, are the initial ones (`--from RUN`)."""
    parallel: Literal["none", "data", "towers", "both"] = "none"
    """How the ranks of torchrun share the work. data: each sees a part of every batch; towers: two ranks with a tower
    of the network each (paper, section 3.2); both: pairs of ranks with a tower each, and a part of every batch."""
    epochs: int = 90
    """Passes over the training images."""
    batch_size: int = 128
    """Images per step."""
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
    """Threads that read, decode and crop images in the background; 0: one per processor core, at most 8. (A CPU that
    trains decodes with all cores between two steps: then they only read, and there are 8.)"""
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
            kind, name = (str, "texts") if str in get_args(expected) else (int | float, "numbers")
            if not isinstance(value, list) or not all(isinstance(x, kind) for x in value):
                raise ValueError(f"{where}: {key} must be a list of {name}, not {value!r}.")
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
