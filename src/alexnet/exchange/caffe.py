"""Caffe's AlexNet and CaffeNet: weights from a `.caffemodel` or from the ONNX zoo, and the network in plain PyTorch.

Both take blue, green and red from 0 to 255, minus a mean, in crops of 227 pixels. Their convolutions are in the same
groups as ours, normalisation reaches across the towers with alpha / 5 and k = 1, and pooling rounds up. CaffeNet pools
before it normalises. Sources: docs/specification.md, "What people confuse it with"; Caffe's `caffe.proto`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.config import NetworkConfig
from alexnet.exchange import protobuf
from alexnet.files.regular import read_regular
from alexnet.model.layers import layers_of
from alexnet.networks import NETWORKS

LARGEST = 1 << 31
"""Bytes of a file. bvlc_alexnet.caffemodel has 244 million."""
BGR_MEAN = (104.0, 117.0, 123.0)
"""ImageNet's mean blue, green and red, where no mean file is given."""
SIZE = 256
"""Pixels of an image before it is cropped."""
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
ORDERED = ("conv1", "pool1", "norm1")
"""Layers whose order tells the two networks apart."""


def read_caffemodel(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """The network in a `.caffemodel`, and its weights under our names and for our input (RGB).

    Reads both layouts: `layers` (V1LayerParameter, field 2) and `layer` (LayerParameter, field 100). Raises ValueError,
    naming the file, where it is no such file or holds another network.
    """
    try:
        message = memoryview(read_regular(path, LARGEST))
        layers = [(protobuf.text(layer, 4), protobuf.messages(layer, 6)) for layer in protobuf.messages(message, 2)]
        layers += [(protobuf.text(layer, 1), protobuf.messages(layer, 7)) for layer in protobuf.messages(message, 100)]
        arrays = {
            f"{name}.{part}": blob(data)
            for name, blobs in layers
            for part, data in zip(("weight", "bias"), blobs, strict=False)
        }
    except ValueError as error:
        raise ValueError(f"{path} is not a .caffemodel: {error}.") from None
    return as_network(path, [name for name, _ in layers], arrays)


def read_zoo(path: Path) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """The same from the ONNX zoo's `bvlcalexnet` and `caffenet`: arrays `conv1_w_0`, `conv1_b_0` ... `fc8_b_0`."""
    try:
        import onnx
    except ImportError:
        raise ValueError(f"{path} is read by the package onnx: pip install 'alexnet[export]'") from None
    try:
        graph = onnx.load_model_from_string(read_regular(path, LARGEST)).graph
    except ValueError:
        raise
    except Exception as error:  # protobuf's DecodeError has no public name
        raise ValueError(f"{path} is not an ONNX file: {' '.join(str(error).split())}") from None
    arrays = {}
    for tensor in graph.initializer:
        layer, kind, _ = (*tensor.name.split("_"), "", "")[:3]
        if kind in ("w", "b"):
            arrays[f"{layer}.{'weight' if kind == 'w' else 'bias'}"] = onnx.numpy_helper.to_array(tensor)
    kinds = {"Conv": "conv1", "LRN": "norm1", "MaxPool": "pool1"}
    shape = next((i.type.tensor_type.shape.dim for i in graph.input if i.name not in arrays), [])
    size = shape[-1].dim_value if len(shape) == 4 else 0
    return as_network(path, [kinds.get(node.op_type, "") for node in graph.node], arrays, size or 227)


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
    config = dataclasses.replace(
        NETWORKS[name].config,
        classes=arrays["fc8.bias"].size,
        fc_units=arrays["fc6.bias"].size,  # those of some fine-tuned networks are fewer
        input_size=size,
        conv1_ceil_mode=False,
    )
    weights = {}
    for layer in layers_of(config):
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


def blob(message: memoryview) -> np.ndarray:
    """A BlobProto: its numbers in its shape (field 7, or num, channels, height and width in fields 1 to 4)."""
    values = protobuf.numbers(message, 5, "<f4")
    if not values.size:
        values = protobuf.numbers(message, 8, "<f8")
    shapes = protobuf.messages(message, 7)
    if shapes:
        shape = protobuf.integers(shapes[-1], 1)
    else:
        shape = [(protobuf.integers(message, field) or [1])[-1] for field in (1, 2, 3, 4)]
    if values.size != np.prod(shape, dtype=object):
        raise ValueError(f"an array has {values.size} numbers, its shape is {shape}")
    return values.reshape(shape)


def read_mean(path: Path) -> np.ndarray:
    """The mean image of a `.binaryproto` (a BlobProto, BGR): float32 [S, S, 3] in RGB. ValueError for anything else."""
    try:
        mean = blob(memoryview(read_regular(path, LARGEST)))
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
