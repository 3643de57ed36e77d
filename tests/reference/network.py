"""The reference's network, loss and update."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .layers import (
    Array,
    Backward,
    convolution,
    cross_entropy,
    dropout,
    linear,
    local_response_norm,
    max_pool,
    output_size,
    relu,
    spatial_norm,
)

Arrays = Mapping[str, Array]
"""By name: parameters `conv1.weight`, `conv1.bias` ... `fc8.bias`, or outputs of stages `conv1` ... `fc8`."""

STRIDE = {"conv1": 4}
PADDING = {"conv2": 2, "conv3": 1, "conv4": 1, "conv5": 1}
IN_TOWERS = ("conv2", "conv4", "conv5")

PAPER = (
    *("conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"),
    *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
    *("fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"),
)
ORIGINAL = ("conv1", "norm1", "pool1", "relu1", "conv2", "relu2", "norm2", "spatial2", *PAPER[7:])


@dataclass(frozen=True)
class Settings:
    """What a step needs besides weights, images and masks. The defaults are the paper's."""

    stages: tuple[str, ...] = PAPER
    """In order. The name of a stage, without its number, says what it computes."""

    alpha: float = 1e-4
    """Factor on LRN's sum of squares."""

    towers: int = 2

    activation: Callable[[Array], tuple[Array, Backward]] = relu
    """What the stages called relu compute."""

    rate: float = 0.01
    """Learning rate."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates of single layers (`conv1`). At 0, neither the layer nor its velocity changes."""

    bias_factor: float = 1.0
    """Learning rate of a bias divided by that of its layer."""

    decay: float = 0.0005
    """Weight decay."""
    bias_decay: float = 0.0005
    momentum: float = 0.9


def paper(**changes) -> Settings:
    return Settings(**changes)


def original(**changes) -> Settings:
    """Definition 145: LRN before ReLU in conv1, spatial norm, alpha / 5; biases at twice the rate, without decay."""
    return Settings(**{"stages": ORIGINAL, "alpha": 1e-4 / 5, "bias_factor": 2.0, "bias_decay": 0.0} | changes)


def shapes(
    channels: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: Sequence[int] = (4096, 4096),
    classes: int = 1000,
    input_size: int = 224,
    towers: int = 2,
) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter; by default of the paper's network."""
    kernels = (11, 5, 3, 3, 3)
    result: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for number, (outputs, kernel) in enumerate(zip(channels, kernels, strict=True), 1):
        groups = towers if f"conv{number}" in IN_TOWERS else 1
        result |= {
            f"conv{number}.weight": (outputs, inputs // groups, kernel, kernel),
            f"conv{number}.bias": (outputs,),
        }
        inputs = outputs
    inputs *= output_sizes(input_size)["pool5"] ** 2
    for number, outputs in enumerate((*hidden, classes), 6):
        result |= {f"fc{number}.weight": (outputs, inputs), f"fc{number}.bias": (outputs,)}
        inputs = outputs
    return result


def output_sizes(input_size: int = 224) -> dict[str, int]:
    """Side of the output maps of each convolution and pooling."""
    kernels = {"conv1": 11, "pool1": 3, "conv2": 5, "pool2": 3, "conv3": 3, "conv4": 3, "conv5": 3, "pool5": 3}
    sizes, size = {}, input_size
    for name, kernel in kernels.items():
        stride = 2 if name.startswith("pool") else STRIDE.get(name, 1)
        size = sizes[name] = output_size(size, kernel, stride, PADDING.get(name, 0))
    return sizes


def forward(
    weights: Arrays, images: Array, settings: Settings, masks: Arrays | None = None
) -> tuple[dict[str, Array], Callable[[Array], dict[str, Array]]]:
    """The output of every stage by name, and a function from the gradient of fc8 to those of all parameters.

    Training: `masks` holds the 0/1 arrays [N, hidden] of `drop6` and `drop7`. Testing: no masks.
    """
    x = images
    outputs: dict[str, Array] = {}
    backwards: dict[str, Callable] = {}
    for stage in settings.stages:
        if stage.startswith("conv"):
            parameters = weights[f"{stage}.weight"], weights[f"{stage}.bias"]
            groups = settings.towers if stage in IN_TOWERS else 1
            x, backward = convolution(x, *parameters, STRIDE.get(stage, 1), PADDING.get(stage, 0), groups)
        elif stage.startswith("fc"):
            x, backward = linear(x, weights[f"{stage}.weight"], weights[f"{stage}.bias"])
        elif stage.startswith("relu"):
            x, backward = settings.activation(x)
        elif stage.startswith("norm"):
            x, backward = local_response_norm(x, settings.alpha, groups=settings.towers)
        elif stage.startswith("spatial"):
            x, backward = spatial_norm(x)
        elif stage.startswith("pool"):
            x, backward = max_pool(x)
        else:
            x, backward = dropout(x, None if masks is None else masks[stage])
        outputs[stage], backwards[stage] = x, backward

    def backward_through_all(gradient: Array) -> dict[str, Array]:
        gradients = {}
        for stage in reversed(settings.stages):
            if stage.startswith(("conv", "fc")):
                gradient, of_weight, of_bias = backwards[stage](gradient)
                gradients |= {f"{stage}.weight": of_weight, f"{stage}.bias": of_bias}
            else:
                gradient = backwards[stage](gradient)
        return gradients

    return outputs, backward_through_all


@dataclass(frozen=True)
class Step:
    """One training step: its outputs, loss and gradients, and the network after it."""

    stages: dict[str, Array]
    loss: float
    gradients: dict[str, Array]
    velocities: dict[str, Array]
    weights: dict[str, Array]


def train_steps(
    weights: Arrays, batches: Sequence[tuple[Array, Array]], masks: Sequence[Arrays], settings: Sequence[Settings]
) -> list[Step]:
    """One `Step` for each batch (images [N, 3, H, W], labels [N]), its masks and settings; velocities start at 0."""
    current = {name: np.asarray(weight, dtype=np.float64) for name, weight in weights.items()}
    velocities = {name: np.zeros_like(weight) for name, weight in current.items()}
    steps = []
    for (images, labels), mask, now in zip(batches, masks, settings, strict=True):
        stages, backward = forward(current, images, now, mask)
        loss, of_logits = cross_entropy(stages["fc8"], labels)
        gradients = backward(of_logits)
        updates = {name: update(name, current[name], velocities[name], gradients[name], now) for name in current}
        current = {name: weight for name, (weight, _) in updates.items()}
        velocities = {name: velocity for name, (_, velocity) in updates.items()}
        steps.append(Step(stages, loss, gradients, velocities, current))
    return steps


def update(name: str, weight: Array, velocity: Array, gradient: Array, settings: Settings) -> tuple[Array, Array]:
    """The parameter `name` and its velocity after one step (docs/specification.md, "The update")."""
    layer, kind = name.split(".")
    rate, decay = settings.rates.get(layer, settings.rate), settings.decay
    if kind == "bias":
        rate, decay = rate * settings.bias_factor, settings.bias_decay
    if rate == 0:
        return weight, velocity
    velocity = settings.momentum * velocity - decay * rate * weight - rate * gradient
    return weight + velocity, velocity
