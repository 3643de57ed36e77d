"""Caffe's AlexNet and CaffeNet: weights from a `.caffemodel` or from the ONNX zoo, and the network in plain PyTorch.

Both take blue, green and red from 0 to 255, minus a mean, in crops of 227 pixels. Their convolutions are in the same
groups as ours, normalisation reaches across the towers with alpha / 5 and k = 1, and pooling rounds up. CaffeNet pools
before it normalises. Sources: docs/specification.md, "What people confuse it with"; Caffe's `caffe.proto`.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.config import NetworkConfig
from alexnet.exchange.protobuf import Message
from alexnet.files.printable import printable
from alexnet.files.regular import read_regular
from alexnet.model.layers import layers_of
from alexnet.networks import NETWORKS
from alexnet.ranges import values_of

LARGEST = 1 << 31
"""Bytes of a file. bvlc_alexnet.caffemodel has 244 million."""
BGR_MEAN = (104.0, 117.0, 123.0)
"""ImageNet's mean blue, green and red, where no mean file is given."""
SIZE = 256
"""Pixels of an image before it is cropped."""
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
ORDERED = ("conv1", "pool1", "norm1")
"""Layers whose order tells the two networks apart."""
MOST_SIDES = 8
"""Of an array."""
GRAPH, INITIALIZER, INPUT = 7, 5, 11
"""Fields of ONNX's ModelProto and GraphProto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)."""
NODES = {"Conv": "conv1", "LRN": "norm1", "MaxPool": "pool1"}
"""ONNX's operators whose order tells the two networks apart."""


class Found(NamedTuple):
    """What a file holds."""

    order: list[str]
    """The names of its layers."""
    arrays: dict[str, np.ndarray]
    """By layer and part: `conv1.weight`."""
    size: int = 227
    """Of the crops that it takes."""


def read_caffemodel(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """The network in a `.caffemodel`, and its weights under our names and for our input (RGB).

    Reads both layouts: `layers` (V1LayerParameter, field 2) and `layer` (LayerParameter, field 100). Raises ValueError,
    naming the file, where it is no such file or holds another network.
    """
    return as_network(path, *caffe_arrays(path))


def caffe_arrays(path: Path) -> Found:
    """What a `.caffemodel` holds. ValueError, naming the file, where it is none."""
    try:
        message = Message(read_regular(path, LARGEST))
        layers = [(layer.text(4), layer.messages(6)) for layer in message.messages(2)]
        layers += [(layer.text(1), layer.messages(7)) for layer in message.messages(100)]
        arrays = {
            f"{name}.{part}": blob(data)
            for name, blobs in layers
            for part, data in zip(("weight", "bias"), blobs, strict=False)
        }
    except ValueError as error:
        raise ValueError(f"{path} is not a .caffemodel: {error}.") from None
    return Found([name for name, _ in layers], arrays)


def read_zoo(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """The same from the ONNX zoo's `bvlcalexnet` and `caffenet`: arrays `conv1_w_0`, `conv1_b_0` ... `fc8_b_0`."""
    return as_network(path, *zoo_arrays(path))


def zoo_arrays(path: Path) -> Found:
    """What a file of the zoo holds. ValueError, naming it, where it is none.

    Without the package onnx, which would open other files that a stranger's file names.
    """
    try:
        model = Message(read_regular(path, LARGEST))
        graph = next(iter(model.messages(GRAPH)), Message(b""))
        arrays, names = {}, set[str]()
        for tensor in graph.messages(INITIALIZER):
            names.add(name := tensor.text(8))
            layer, kind, _ = (*name.split("_"), "", "")[:3]
            if kind in ("w", "b"):
                arrays[f"{layer}.{'weight' if kind == 'w' else 'bias'}"] = onnx_tensor(tensor)
        order = [NODES.get(node.text(4), "") for node in graph.messages(1)]
        size = next((size_of(each) for each in graph.messages(INPUT) if each.text(1) not in names), 0)
    except ValueError as error:
        raise ValueError(f"{path} is not an ONNX file of the zoo: {error}.") from None
    return Found(order, arrays, size or 227)


def onnx_tensor(tensor: Message) -> np.ndarray:
    """A TensorProto of float32: its numbers as bytes or one by one, in its shape."""
    if tensor.integer(2) != 1 or tensor.integer(14):  # its type, and whether its numbers are in another file
        raise ValueError(f"{printable(tensor.text(8))[:40]} is not float32, or not in the file")
    raw = tensor.parts(9)
    return shaped(np.frombuffer(raw[-1], "<f4") if raw else tensor.numbers(4, "<f4"), tensor.integers(1))


def size_of(value: Message) -> int:
    """Width of the images that an input takes (ValueInfoProto); 0 where that is not said."""
    sides = [
        dimension.integer(1)
        for kind in value.messages(2)
        for tensor in kind.messages(1)
        for shape in tensor.messages(2)
        for dimension in shape.messages(1)
    ]
    return sides[-1] if len(sides) == 4 else 0


def as_network(
    path: Path, order: list[str], arrays: Mapping[str, np.ndarray], size: int = 227
) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """The network whose layers come in this `order`, and its weights, in our shapes. ValueError where they do not fit.

    `size`: of its crops. With 224 (ONNX zoo), conv1 drops the last rows and columns.
    """
    missing = [name for layer in LAYERS for name in (f"{layer}.weight", f"{layer}.bias") if name not in arrays]
    if missing or not {*ORDERED} <= {*order}:
        what = missing[0] if missing else next(name for name in ORDERED if name not in order)
        raise ValueError(f"{path} is neither Caffe's AlexNet nor CaffeNet: it has no {what}.")
    name = "caffe" if order.index("norm1") < order.index("pool1") else "caffenet"
    with values_of(path):
        config = dataclasses.replace(
            NETWORKS[name].config,
            classes=arrays["fc8.bias"].size,
            fc_units=arrays["fc6.bias"].size,  # those of some fine-tuned networks are fewer
            input_size=size,
            conv1_ceil_mode=False,
        )
        layers = layers_of(config)
    weights = {}
    for layer in layers:
        if layer.weight_shape:
            for part, shape in (("weight", layer.weight_shape), ("bias", layer.outputs[:1])):
                array = arrays[f"{layer.name}.{part}"]
                if not np.isfinite(array).all():
                    raise ValueError(f"{path}: {layer.name} has {part} values that are not finite.")
                if array.size != np.prod(shape):
                    raise ValueError(f"{path} is another network: its {layer.name} has {array.size:,} {part} values.")
                weights[f"{layer.name}.{part}"] = torch.from_numpy(array.astype(np.float32).reshape(shape))
    weights["conv1.weight"] = weights["conv1.weight"].flip(1).contiguous()  # from BGR to RGB
    return config, weights


def blob(message: Message) -> np.ndarray:
    """A BlobProto: its numbers in its shape (field 7, or num, channels, height and width in fields 1 to 4)."""
    values = message.numbers(5, "<f4")
    if not values.size:
        values = message.numbers(8, "<f8")
    shapes = message.messages(7)
    if shapes:
        return shaped(values, shapes[-1].integers(1))
    return shaped(values, [message.integer(field, 1) for field in (1, 2, 3, 4)])


def shaped(values: np.ndarray, shape: list[int]) -> np.ndarray:
    """Numbers in a stranger's shape. ValueError where they do not fill it."""
    if len(shape) > MOST_SIDES or values.size != math.prod(shape):
        raise ValueError(f"an array has {values.size} numbers, its shape is {shape[:MOST_SIDES]}")
    return values.reshape(shape)


def read_mean(path: Path) -> np.ndarray:
    """The mean image of a `.binaryproto` (a BlobProto, BGR): float32 [S, S, 3] in RGB. ValueError for anything else."""
    try:
        mean = blob(Message(read_regular(path, LARGEST)))
    except ValueError as error:
        raise ValueError(f"{path} is not a mean file (.binaryproto): {error}.") from None
    size = mean.shape[-1] if mean.ndim else 0
    if mean.size == 0 or mean.size != 3 * size**2 or not np.isfinite(mean).all():
        raise ValueError(f"{path} is not a mean file: it holds {list(mean.shape)}, not [3, size, size].")
    return np.ascontiguousarray(mean.reshape(3, size, size)[::-1].transpose(1, 2, 0), np.float32)


def mean_image() -> np.ndarray:
    """ImageNet's mean colour as a mean image: float32 [256, 256, 3] in RGB."""
    return np.broadcast_to(np.array(BGR_MEAN[::-1], np.float32), (SIZE, SIZE, 3)).copy()


def forward(weights: Mapping[str, Tensor], x: Tensor, pool_first: bool) -> Tensor:
    """The network of the prototxt in PyTorch's own functions: x [B, 3, S, S] in BGR, mean subtracted, to logits.

    `weights` are ours (conv1 for RGB). `pool_first`: CaffeNet.
    """
    bgr = dict(weights) | {"conv1.weight": weights["conv1.weight"].flip(1)}

    def conv(name: str, x: Tensor, stride: int, padding: int, groups: int) -> Tensor:
        return F.relu(F.conv2d(x, bgr[f"{name}.weight"], bgr[f"{name}.bias"], stride, padding, groups=groups))

    def pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    def pool_and_norm(x: Tensor) -> Tensor:
        return norm(pool(x)) if pool_first else pool(norm(x))

    x = pool_and_norm(conv("conv1", x, 4, 0, 1))
    x = pool_and_norm(conv("conv2", x, 1, 2, 2))
    for name, groups in (("conv3", 1), ("conv4", 2), ("conv5", 2)):
        x = conv(name, x, 1, 1, groups)
    x = pool(x).flatten(1)
    for name in ("fc6", "fc7", "fc8"):
        x = F.linear(x, bgr[f"{name}.weight"], bgr[f"{name}.bias"])
        x = x if name == "fc8" else F.relu(x)
    return x
