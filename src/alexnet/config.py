"""Every setting of a training: frozen dataclasses whose defaults are the paper's.

The paper is "ImageNet Classification with Deep Convolutional Neural Networks" (Krizhevsky, Sutskever, Hinton, 2012). A
recipe (`alexnet.recipes`) states only where it differs, and why. Each field is an option of `alexnet train`, and the
docstring below it is the option's help. The run folder keeps the whole configuration as `config.json`.
"""

import dataclasses
import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from alexnet.files.json_file import read_json
from alexnet.ranges import (
    BatchSize,
    Channels,
    Count,
    CountOrNone,
    NotNegative,
    Number,
    Pixels,
    Positive,
    Range,
    Seed,
    Threads,
    UsageError,
    Width,
    check_ranges,
    values_of,
)


@dataclass(frozen=True)
class NetworkConfig:
    """The network (paper, section 3): eight layers with weights, conv1 ... conv5, fc6, fc7, fc8.

    A setting that has a value per layer lists them from the first layer to the last.
    """

    architecture: Literal["eight-layer", "four-layer"] = "eight-layer"
    """eight-layer: the paper's network for ImageNet.
    four-layer: its network for CIFAR-10 (conv1, conv2, local3, local4, fc10)."""
    classes: Channels = 1000
    """Number of classes. Training takes it from the store."""
    input_size: Pixels = 224
    """Height and width of the network's input, in pixels."""
    width: Width = 1.0
    """Width multiplier: factor on the channels of the convolutions and the units of fc6 and fc7."""
    towers: Annotated[int, Range(1, 2)] = 2
    """2: the channels form two towers; conv2, conv4 and conv5 see only their own (groups=2). Paper: a tower per GPU.
    1: every layer sees all channels."""
    exchange: bool = True
    """Whether conv3, fc6 and fc7 see both towers. Without, only fc8 does."""
    channels: tuple[Channels, ...] = (96, 256, 384, 384, 256)
    """Output channels (the paper's kernels) of conv1 ... conv5, both towers together."""
    fc_units: Channels = 4096
    """Units of fc6 and of fc7, both towers together."""
    padding: tuple[Annotated[int, Range(0, 64)], ...] = (0, 2, 1, 1, 1)
    """Zero padding on all sides of the input of conv1 ... conv5, in pixels."""
    conv1_ceil_mode: bool = True
    """Round conv1's output size up, with zeros on the right and at the bottom (224 pixels give 55 outputs)."""
    activation: Literal["relu", "tanh"] = "relu"
    """Nonlinearity after each layer except the last (paper, section 3.1)."""
    after_conv1: Literal["activation-norm-pool", "norm-pool-activation", "activation-pool-norm"] = (
        "activation-norm-pool"
    )
    """Order of the stages after conv1. After conv2 it is activation, normalisation, pooling; with activation-pool-norm
    (CaffeNet) pooling comes first there too."""
    lrn: Literal["per-tower", "across-towers", "none"] = "per-tower"
    """Local response normalisation after conv1 and conv2 (paper, section 3.3).
    Its windows over the channels stay within a tower, or reach across."""
    lrn_alpha: NotNegative = 1e-4
    """Alpha of local response normalisation: factor on the sum of squares over 5 channels.
    (torch.nn.LocalResponseNorm divides its alpha by 5.)"""
    lrn_k: Positive = 2.0
    """K of local response normalisation, added to the weighted sum of squares."""
    spatial_norm_alpha: NotNegative = 0.0
    """Alpha of normalisation within each map, after norm2: factor on the mean of squares over a 5x5 window.
    0: no such normalisation (paper)."""
    pool_size: Annotated[int, Range(1, 64)] = 3
    """Height and width of the pooling windows (paper, section 3.4)."""
    pool_stride: Annotated[int, Range(1, 64)] = 2
    """Stride of the pooling windows, in pixels. Less than pool_size: they overlap."""
    pool_ceil_mode: bool = True
    """Round the output size of pooling up: a window that reaches past the edge is clipped, not dropped."""
    sixth_conv: bool = False
    """Add a sixth convolution between pool5 and fc6, as wide as conv5 (paper, section 6)."""
    without_layers: tuple[str, ...] = ()
    """Layers to leave out, of conv2 ... conv5, fc6 and fc7."""
    dropout: Annotated[float, Range(0, 1, below=True)] = 0.5
    """Probability that dropout sets a unit to 0 in training (paper, section 4.2)."""
    inverted_dropout: bool = False
    """Divide by 1 - dropout in training, as torch.nn.Dropout does.
    Without: multiply by 1 - dropout in testing, as in 2012."""
    dropout_on: Literal["outputs", "inputs"] = "outputs"
    """Whether dropout acts on the outputs of fc6 and fc7 or on their inputs."""
    initial_std: tuple[NotNegative, ...] = (0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
    """Standard deviation of the Gaussian initial weights of each layer. Empty: PyTorch's own initial values."""
    initial_bias: tuple[Number, ...] = (0, 1, 0, 1, 1, 1, 1, 0)
    """Initial bias of each layer."""

    def __post_init__(self) -> None:
        check_ranges(self, "network.")


@dataclass(frozen=True)
class AugmentConfig:
    """How training images are drawn, cropped, mirrored and coloured (paper, section 4.1)."""

    shuffle: Literal["every-epoch", "once"] = "every-epoch"
    """every-epoch: a new order of the images in every epoch.
    once: one random order, kept (original program)."""
    random_crop: bool = True
    """Crop at a random offset. Without: crop the centre."""
    include_last_offset: bool = False
    """Let crops end at the last row and column too: 33 x 33 offsets for 224 of 256 pixels, not the paper's 32 x 32."""
    mirror: bool = True
    """Mirror left to right with probability 1/2."""
    images_per_crop: Count = 1
    """Consecutive images that share one offset and one mirroring (original program: 32)."""
    mean_crop: Literal["matching", "central"] = "matching"
    """Which crop of the mean image is subtracted.
    matching: the one at the same offset, mirrored where the crop is.
    central: always the central one, never mirrored (original program)."""
    colour_noise: NotNegative = 0.1
    """Standard deviation of the random multiples of the RGB principal components; 0: no colour noise."""
    colour_scale: Literal["eigenvalues", "standard-deviations"] = "eigenvalues"
    """What the random multiples scale.
    eigenvalues: those of the RGB covariance (paper).
    standard-deviations: their square roots; the image is then divided by 1 + colour_noise (original program)."""

    def __post_init__(self) -> None:
        check_ranges(self, "augment.")


@dataclass(frozen=True)
class OptimConfig:
    """Stochastic gradient descent with momentum; the learning rate is inside the velocity (paper, section 5)."""

    lr: NotNegative = 0.01
    """Learning rate at the start, for all layers (schedule.changes gives single layers their own)."""
    bias_lr_factor: NotNegative = 1.0
    """Factor on the learning rate of biases."""
    momentum: Annotated[float, Range(0, 1, below=True)] = 0.9
    """Fraction of the velocity kept from step to step."""
    weight_decay: NotNegative = 0.0005
    """Weight decay, inside the update: v <- momentum v - weight_decay lr w - lr gradient."""
    no_weight_decay: tuple[str, ...] = ()
    """Parameters without weight decay: layer names (their weights), and bias (all biases)."""

    def __post_init__(self) -> None:
        check_ranges(self, "optim.")


class Change(NamedTuple):
    """From `epoch` (epochs done) on, `target` (a layer, or `colour_noise`) has `value`; None: the common learning
    rate."""

    epoch: float
    target: str
    value: float | None

    @classmethod
    def parse(cls, text: str) -> "Change":
        """Parse "EPOCH TARGET VALUE". ValueError for anything else."""
        try:
            epoch, target, value = text.split()
            change = cls(float(epoch), target, None if value == "common" else float(value))
        except ValueError:
            raise UsageError(
                f"schedule.changes: '{text}' is not EPOCH TARGET VALUE, as in '67 conv1 1e-5', '67 colour_noise 0' or "
                "'9 fc8 common'."
            ) from None
        if change.epoch < 0 or (change.value is not None and change.value < 0):
            raise UsageError(f"schedule.changes: '{text}' has a negative number.")
        if target == COLOUR_NOISE and (change.value is None or not change.epoch.is_integer()):
            raise UsageError(f"schedule.changes: '{text}': colour noise changes to a number, at a whole epoch.")
        return change


COLOUR_NOISE = "colour_noise"
"""The target of a change that is no layer: `AugmentConfig.colour_noise`."""


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate falls (paper, section 5)."""

    kind: Literal["plateau", "epochs"] = "plateau"
    """plateau: the learning rate drops when the validation error stops improving (paper).
    epochs: it drops after the epochs of drop_epochs."""
    divisor: Annotated[float, Range(1)] = 10.0
    """What the learning rate is divided by at each drop."""
    patience: Count = 5
    """plateau: evaluations without a lower validation top-1 error before a drop (the paper judged by eye)."""
    max_drops: CountOrNone = 3
    """plateau: number of drops (paper: three). Training ends at the first plateau after the last drop."""
    drop_epochs: tuple[NotNegative, ...] = ()
    """epochs: epochs done at each drop; fractions are allowed."""
    warmup_steps: CountOrNone = 0
    """Steps over which the learning rate rises linearly from 0 to optim.lr (paper: none)."""
    changes: tuple[str, ...] = ()
    """Changes made by hand, each "EPOCH TARGET VALUE".
    "67 conv1 1e-5" gives a layer its own learning rate, "72 conv1 0" freezes it, "9 fc8 common" ends that.
    "67 colour_noise 0" gives colour noise another value."""

    @property
    def parsed_changes(self) -> "tuple[Change, ...]":
        """`changes` in the order of their epochs. ValueError for one that cannot be parsed."""
        return tuple(sorted((Change.parse(text) for text in self.changes), key=lambda change: change.epoch))

    def __post_init__(self) -> None:
        check_ranges(self, "schedule.")
        _ = self.parsed_changes


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written. The last two and the best one are kept."""

    every_epochs: Count = 1
    """Epochs between checkpoints. One is also written at the end, after a better evaluation, and on Ctrl-C."""
    every_steps: CountOrNone = 0
    """Steps between checkpoints within an epoch; 0: none."""
    every_minutes: NotNegative = 0
    """Minutes between checkpoints within an epoch, in addition to every_steps; 0: none."""

    def __post_init__(self) -> None:
        check_ranges(self, "checkpoint.")


@dataclass(frozen=True)
class TrainConfig:
    """A whole training. The defaults are the paper's."""

    recipe: str = "paper"
    """The recipe that the defaults come from."""
    start_from: str = ""
    """Fine-tune this run: its trained weights, except the last layer's, are the initial ones (short: --from RUN)."""
    parallel: Literal["none", "data", "towers", "both"] = "none"
    """How torchrun's processes share the work.
    data: data parallelism; each process holds the network and trains on a part of every batch.
    towers: two processes, each holds a tower of the network (paper, section 3.2).
    both: pairs of towers; each pair trains on a part of every batch."""
    epochs: Annotated[int, Range(1, 100_000)] = 90
    """Passes over the training images."""
    batch_size: BatchSize = 128
    """Images per step."""
    seed: Seed = 0
    """Initial weights, order, crops, mirroring, colour noise and dropout are functions of this number."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of activations and matrix multiplications; weights and their update stay in float32.
    auto: bfloat16 where the hardware multiplies in it, else float32."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu), cpu, cuda, cuda:1 or mps."""
    compile: bool = False
    """Compile the network with torch.compile (on a CPU this needs a C++ compiler)."""
    workers: Threads = 0
    """Threads that read, decode and crop images in the background. 0: one per processor core.
    (When a CPU trains, they only read, 0 means 8, and all cores decode between two steps.)"""
    evaluate_every: Count = 1
    """Epochs between evaluations on the validation split (centre view)."""
    honour_exif: bool = False
    """Turn images as their EXIF data says. Training takes it from the store."""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        check_ranges(self)


def suggestion(word: str, known: Iterable[str]) -> str:
    """The words "did you mean ...?" where one of `known` is near `word`, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}."


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the whole configuration as JSON."""
    path.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def load_run_config(run: Path) -> TrainConfig:
    """The configuration of a run folder. Raises ValueError where there is none, or it is damaged."""
    if not run.exists():
        raise ValueError(f"There is no run at {run}: make one with `alexnet train`.")
    if not (run / "config.json").is_file():
        raise ValueError(f"{run} is not a run folder: it has no config.json.")
    return load_config(run / "config.json")


def load_config(path: Path) -> TrainConfig:
    """Read what `save_config` wrote. ValueError for unknown keys (suggests the nearest) and wrong types."""
    try:
        values = read_json(path, dict[str, Any])
    except ValueError as error:
        raise ValueError(f"{path} is not a configuration: {error}.") from None
    return from_dict(TrainConfig, values, str(path))


def from_dict(cls: type, values: Any, where: str) -> Any:
    """Build the dataclass `cls` from JSON values. ValueError, beginning with `where`, for what does not fit."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected an object with the fields of {cls.__name__}.")
    types = get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in types:
            raise ValueError(f"{where}: unknown setting '{key}'; {suggestion(key, types)}")
        if dataclasses.is_dataclass(types[key]):
            arguments[key] = from_dict(types[key], value, f"{where}, {key}")
        else:
            arguments[key] = _checked(types[key], value, f"{where}: {key}")
    with values_of(where):
        return cls(**arguments)


def _checked(expected: Any, value: Any, where: str) -> Any:
    """`value` if it has the type `expected` (a list where that is a tuple). ValueError otherwise."""
    if get_origin(expected) is tuple:
        element = get_args(expected)[0]
        if not isinstance(value, list) or not all(_is_a(element, each) for each in value):
            name = {str: "strings", int: "whole numbers"}.get(element, "numbers")
            raise ValueError(f"{where} must be a list of {name}, not {value!r}.")
        return tuple(value)
    if get_origin(expected) is Literal:
        if value not in get_args(expected):
            raise ValueError(f"{where} must be one of {', '.join(get_args(expected))}, not {value!r}.")
        return value
    if not _is_a(expected, value):
        raise ValueError(f"{where} must be of type {expected.__name__}, not {value!r}.")
    return value


def _is_a(expected: Any, value: Any) -> bool:
    """Whether a JSON value has the type `expected`: an integer is a float too, and a bool is no number."""
    accepted = int | float if expected is float else expected
    return isinstance(value, bool) == (expected is bool) and isinstance(value, accepted)
