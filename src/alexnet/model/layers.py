"""The stages of a network, computed from its configuration: name, shapes and size of each.

`network.py` builds the network from this list, `alexnet describe` prints it, and `towers.py` reads from it what the
towers exchange. Sources: paper, section 3.5; docs/specification.md, "The network", "The bigger network", "The
comparisons the original ran".
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from alexnet.config import NetworkConfig
from alexnet.model.pooling import output_size
from alexnet.ranges import UsageError

Kind = Literal["pad", "conv", "local", "fc", "activation", "norm", "spatial norm", "pool", "dropout"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One stage. Shapes are of one image: (channels, height, width), or (units,)."""

    name: str
    kind: Kind
    inputs: Shape
    outputs: Shape
    kernel_size: int = 0
    stride: int = 1
    padding: int = 0
    """Pixels on each side; `pad`: only on the right and at the bottom."""
    groups: int = 1
    """Groups of channels or units, each connected only to itself."""

    @property
    def weight_shape(self) -> Shape:
        """PyTorch's: (out, in / groups, height, width) or (out, in / groups); `local`: (H' W', out, in height width).

        () for stages without weights.
        """
        if self.kind == "fc":
            return self.outputs[0], math.prod(self.inputs) // self.groups
        if self.kind == "conv":
            return self.outputs[0], self.inputs[0] // self.groups, self.kernel_size, self.kernel_size
        if self.kind == "local":
            return math.prod(self.outputs[1:]), self.outputs[0], self.inputs[0] * self.kernel_size**2
        return ()

    @property
    def parameters(self) -> int:
        """Weights and biases: one bias for each kernel or unit (`local`: for each output)."""
        biases = math.prod(self.outputs) if self.kind == "local" else self.outputs[0]
        return math.prod(self.weight_shape) + biases if self.weight_shape else 0

    @property
    def multiply_adds(self) -> int:
        """Multiplications of weights with inputs, for one image forward."""
        positions = math.prod(self.outputs[1:]) if self.kind == "conv" else 1
        return math.prod(self.weight_shape) * positions if self.weight_shape else 0


def layers_of(config: NetworkConfig) -> tuple[Layer, ...]:
    """The stages, from first to last.

    Raises ValueError for settings that contradict each other, and for images too small to pool.
    """
    _check(config)
    layers = _stages(config)
    if layers is None:
        sizes = range(config.input_size + 1, 1000)
        smallest = next(size for size in sizes if _stages(dataclasses.replace(config, input_size=size)))
        raise UsageError(
            f"network.input_size is {config.input_size}; this network needs images of at least {smallest} pixels."
        )
    return layers


def initial_values(config: NetworkConfig) -> dict[str, tuple[float, float]]:
    """Standard deviation of the initial weights, and initial bias, of each layer with weights, by its name.

    conv6 starts like conv5: neither source says how.
    """
    names = FOUR_LAYERS if config.architecture == "four-layer" else EIGHT_LAYERS
    values = dict(zip(names, zip(config.initial_std, config.initial_bias, strict=True), strict=True))
    return values | ({"conv6": values["conv5"]} if config.sixth_conv else {})


EIGHT_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
FOUR_LAYERS = ("conv1", "conv2", "local3", "local4", "fc10")
REMOVABLE = EIGHT_LAYERS[1:7]


def _check(config: NetworkConfig) -> None:
    names = FOUR_LAYERS if config.architecture == "four-layer" else EIGHT_LAYERS
    convolutions = 4 if config.architecture == "four-layer" else 5
    for setting, count in (("channels", convolutions), ("padding", convolutions)):
        if len(getattr(config, setting)) != count:
            raise UsageError(f"network.{setting} needs {count} numbers, for {', '.join(names[:count])}.")
    for setting in ("initial_std", "initial_bias"):
        if len(getattr(config, setting)) not in (0, len(names)):
            raise UsageError(f"network.{setting} needs {len(names)} numbers, for {', '.join(names)}, or none.")
    if bool(config.initial_std) != bool(config.initial_bias):
        raise UsageError("network.initial_std and network.initial_bias are both given, or both empty.")
    for name in config.without_layers:
        if name not in REMOVABLE or config.architecture == "four-layer":
            raise UsageError(
                f"network.without_layers names '{name}'; of the eight layers, {', '.join(REMOVABLE)} can go."
            )
    if config.towers not in (1, 2) or (config.architecture == "four-layer" and config.towers == 2):
        raise UsageError(f"network.towers is {config.towers}; it is 1, or 2 for the eight-layer form.")


def _stages(config: NetworkConfig) -> tuple[Layer, ...] | None:
    """The stages; None where a window is larger than the map it slides over."""
    stages = StageList(config)
    (four_layers if config.architecture == "four-layer" else eight_layers)(stages, config)
    fits = all(min(layer.outputs) >= 1 for layer in stages.layers)
    return tuple(stages.layers) if fits else None


def eight_layers(add: "StageList", config: NetworkConfig) -> None:
    """The paper's network (section 3.5), with what `config` changes."""
    k, p, towers = config.channels, config.padding, config.towers
    after_exchange = 1 if config.exchange else towers  # groups of the layers before which the towers exchange

    add.conv("conv1", k[0], 11, stride=4, padding=p[0], ceil_mode=config.conv1_ceil_mode)
    for what in config.after_conv1.split("-"):
        add.after("1", what)
    if "conv2" not in config.without_layers:
        add.conv("conv2", k[1], 5, padding=p[1], groups=towers)
        add.after("2", "activation")
    norms = ("norm", "spatial norm") if "conv2" not in config.without_layers else ()
    pool_first = config.after_conv1 == "activation-pool-norm"
    for what in ("pool", *norms) if pool_first else (*norms, "pool"):
        add.after("2", what)
    if "conv3" not in config.without_layers:
        add.conv("conv3", k[2], 3, padding=p[2], groups=after_exchange)
        add.after("3", "activation")
    if "conv4" not in config.without_layers:
        add.conv("conv4", k[3], 3, padding=p[3], groups=towers)
        add.after("4", "activation")
    if "conv5" not in config.without_layers:
        add.conv("conv5", k[4], 3, padding=p[4], groups=towers)
        add.after("5", "activation")
    add.after("5", "pool")
    if config.sixth_conv:
        add.conv("conv6", k[4], 3, padding=1)
        add.after("_conv6", "activation")
    for name in ("fc6", "fc7"):
        if name not in config.without_layers:
            number = name[-1]
            if config.dropout_on == "inputs":
                add.after(number, "dropout")
            add.fc(name, add.scaled(config.fc_units), groups=after_exchange)
            add.after(number, "activation")
            if config.dropout_on == "outputs":
                add.after(number, "dropout")
    add.fc("fc8", config.classes)


def four_layers(add: "StageList", config: NetworkConfig) -> None:
    """The program's CIFAR-10 network: two convolutions, and two layers that do not share their kernels (`local`)."""
    k, p = config.channels, config.padding
    for i, number in enumerate("12"):
        add.conv(f"conv{number}", k[i], 5, padding=p[i])
        for what in ("activation", "norm", "pool"):
            add.after(number, what)
    for i, number in ((2, "3"), (3, "4")):
        add.local(f"local{number}", k[i], 3, padding=p[i])
        add.after(number, "activation")
    add.fc("fc10", config.classes)


class StageList:
    """Stages so far; each new stage takes the output of the last."""

    def __init__(self, config: NetworkConfig) -> None:
        self.config = config
        self.shape: Shape = (3, config.input_size, config.input_size)
        self.layers: list[Layer] = []

    def scaled(self, count: int) -> int:
        """`count` kernels or units times `config.width`, rounded so that every tower has equally many."""
        towers = self.config.towers
        return towers * max(1, round(count / towers * self.config.width))

    def add(self, name: str, kind: Kind, outputs: Shape, **options: int) -> None:
        self.layers.append(Layer(name, kind, self.shape, outputs, **options))
        self.shape = outputs

    def conv(
        self,
        name: str,
        kernels: int,
        size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        ceil_mode: bool = False,
    ) -> None:
        channels, side, _ = self.shape
        if ceil_mode:
            # The last windows reach past the image, so zeros go on the right and at the bottom only.
            missing = max(0, -(side + 2 * padding - size) % stride)
            if missing:
                self.add(f"pad{name[-1]}", "pad", (channels, side + missing, side + missing), padding=missing)
                side += missing
        out = (side + 2 * padding - size) // stride + 1
        shape = (self.scaled(kernels), out, out)
        self.add(name, "conv", shape, kernel_size=size, stride=stride, padding=padding, groups=groups)

    def local(self, name: str, kernels: int, size: int, *, padding: int) -> None:
        out = self.shape[1] + 2 * padding - size + 1
        self.add(name, "local", (self.scaled(kernels), out, out), kernel_size=size, padding=padding)

    def fc(self, name: str, units: int, groups: int = 1) -> None:
        self.add(name, "fc", (units,), groups=groups)

    def after(self, number: str, what: str) -> None:
        """Adds `what` after the layer with this number, if the configuration has it."""
        config = self.config
        if what == "activation":
            self.add(f"{config.activation}{number}", "activation", self.shape)
        elif what == "norm" and config.lrn != "none":
            groups = config.towers if config.lrn == "per-tower" else 1
            self.add(f"norm{number}", "norm", self.shape, kernel_size=5, groups=groups)
        elif what == "spatial norm" and config.spatial_norm_alpha:
            self.add(f"spatial{number}", "spatial norm", self.shape, kernel_size=5)
        elif what == "pool":
            size, stride = config.pool_size, config.pool_stride
            out = output_size(self.shape[1], size, stride, config.pool_ceil_mode)
            self.add(f"pool{number}", "pool", (self.shape[0], out, out), kernel_size=size, stride=stride)
        elif what == "dropout" and config.dropout:
            self.add(f"drop{number}", "dropout", (math.prod(self.shape),))
