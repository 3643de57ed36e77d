"""torchvision's `alexnet`: the names of its weights, its preprocessing, and the network itself in plain PyTorch.

torchvision's network takes pixels from 0 to 1, minus a mean and divided by a standard deviation per channel. Ours takes
pixels from 0 to 255 minus the mean image, so conv1's weights absorb the scale. Source: docs/specification.md, "What
people confuse it with".
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.config import NetworkConfig
from alexnet.model.layers import Layer, layers_of
from alexnet.networks import NETWORKS

NAMES = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc6",
    "classifier.4": "fc7",
    "classifier.6": "fc8",
}
"""Our names of the layers, by torchvision's."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue, on the scale from 0 to 1."""
SIZE = 256
"""Pixels to which the shorter side is resized."""


def scale() -> Tensor:
    """What one unit of torchvision's input is in ours, per channel: [3, 1, 1]."""
    return 255 * torch.tensor(STD)[:, None, None]


def mean_image(size: int = SIZE) -> np.ndarray:
    """torchvision's mean on our scale: float32 [size, size, 3]."""
    return np.broadcast_to(255 * np.array(MEAN), (size, size, 3)).astype(np.float32)


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's weights under our names, conv1 for our scale. Other names stay as they are."""
    ours = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        ours[f"{NAMES[layer]}.{part}" if layer in NAMES else name] = value.float()
    if "conv1.weight" in ours and ours["conv1.weight"].shape[1:2] == (3,):
        ours["conv1.weight"] = ours["conv1.weight"] / scale()
    return ours


def from_ours(state: Mapping[str, Tensor], rescaled: bool) -> dict[str, Tensor]:
    """Our weights under torchvision's names; `rescaled`: conv1 for torchvision's scale, else for ours."""
    names = {ours: theirs for theirs, ours in NAMES.items()}
    theirs = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        if rescaled and name == "conv1.weight":
            value = value * scale()
        theirs[f"{names[layer]}.{part}"] = value.contiguous().clone()
    return theirs


def why_not(config: NetworkConfig) -> str | None:
    """In what a network differs from torchvision's, in words; None where it computes the same in testing."""
    torchvision = NETWORKS["torchvision"].config
    if config.architecture != torchvision.architecture:
        return f"it is the {config.architecture} network"
    known = dataclasses.replace(torchvision, classes=config.classes, input_size=config.input_size)
    if config.dropout and not config.inverted_dropout:
        return "its dropout multiplies in testing"
    for mine, theirs in zip(stages(config), stages(known), strict=False):
        if mine != theirs:
            return f"its {mine.name} is another layer than torchvision's {theirs.name}"
    last = [layer for layer in layers_of(config) if layer.kind == "pool"][-1]
    if len(stages(config)) != len(stages(known)):
        return f"it has {len(stages(config))} layers, torchvision's {len(stages(known))}"
    return None if last.outputs[1:] == (6, 6) else "its pool5 does not give maps of 6 x 6"


def stages(config: NetworkConfig) -> list[Layer]:
    """The layers that do something in testing."""
    return [layer for layer in layers_of(config) if layer.kind != "dropout"]


def forward(state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """torchvision's network, from its weights and its input [B, 3, 224, 224] to logits, in PyTorch's own functions."""

    def conv(name: str, x: Tensor, stride: int, padding: int) -> Tensor:
        return F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding))

    x = F.max_pool2d(conv("features.0", x, 4, 2), 3, 2)
    x = F.max_pool2d(conv("features.3", x, 1, 2), 3, 2)
    for name in ("features.6", "features.8", "features.10"):
        x = conv(name, x, 1, 1)
    x = F.max_pool2d(x, 3, 2).flatten(1)
    for name in ("classifier.1", "classifier.4", "classifier.6"):
        x = F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])
        x = x if name == "classifier.6" else F.relu(x)
    return x
