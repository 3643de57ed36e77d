"""Inference on a CPU from packed weights: converted and laid out for oneDNN once, not at each call.

Each ReLU is computed with the layer before it, dropout's factor is multiplied into the weights after it, and pooling
stores no index of its maxima. The values are those of `AlexNet` in eval mode except for rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.convolution import Conv2d, ZeroPad2d
from alexnet.model.cpu import kernels
from alexnet.model.cpu.convolution import conv1, is_first_layer, space_to_depth, space_to_depth_weight
from alexnet.model.dropout import Dropout
from alexnet.model.layers import Layer, Shape
from alexnet.model.linear import Linear
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.network import AlexNet
from alexnet.model.pooling import MaxPool2d
from alexnet.model.stage import fusible, watched
from alexnet.model.unshared import GroupedLinear

Step = Callable[[Tensor], Tensor]

MAX_ACTIVATION_BYTES = 8 << 20
"""Most bytes of an activation in the convolutions.

Activations of this size stay in cache. Also, the GNU C library keeps freed memory of less than 32 MiB for the next
tensor; requesting it from the system each time took a fifth of the time of 64 images.
"""


def can_pack(network: AlexNet, x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a `PackedNetwork` can compute network(x) in `dtype`: on a CPU, in eval mode, no gradients, no hooks."""
    return (
        isinstance(x, Tensor)
        and not network.training
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and dtype in kernels.DTYPES
        and x.dtype in (torch.float32, dtype)
        and tuple(x.shape[1:]) == network.layers[0].inputs
        and len(x) > 0
        and kernels.usable(x)
        and kernels.onednn_there()
        and (dtype != torch.bfloat16 or packs_bfloat16())
        and not any(watched(stage) for stage in network.modules() if stage is not network)
        and all(p.device.type == "cpu" and p.dtype == torch.float32 for p in network.parameters())
        and all(_is_as_described(layer, network.get_submodule(layer.name)) for layer in network.layers)
    )


PACKED: dict[str, tuple[type, ...]] = {
    "conv": (Conv2d, nn.Conv2d),
    "fc": (Linear, nn.Linear, GroupedLinear),
    "norm": (LocalResponseNorm,),
    "pool": (MaxPool2d,),
    "dropout": (Dropout,),
    "pad": (ZeroPad2d, nn.ZeroPad2d),
}
"""The modules that packing knows, by kind of layer; the others are called as they are."""


def _is_as_described(layer: Layer, stage: nn.Module) -> bool:
    """Whether a stage is still what its layer says: nobody has replaced it, or given it other settings."""
    if layer.kind in PACKED and type(stage) not in PACKED[layer.kind]:
        return False
    if not isinstance(stage, nn.Conv2d):
        return True
    sides = (layer.stride,) * 2, (layer.padding,) * 2, (1, 1)
    form = stage.stride, stage.padding, stage.dilation
    return stage.bias is not None and stage.padding_mode == "zeros" and form == sides and stage.groups == layer.groups


def packs_bfloat16() -> bool:
    """Whether oneDNN takes packed weights in bfloat16 on this processor: not with AVX2 alone."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def weights_version(network: AlexNet) -> tuple[tuple[int, int], ...]:
    """Changes when a weight is replaced or modified in place, except through `.data`, which PyTorch does not count."""
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in network.parameters())


class PackedNetwork:
    """`network` in eval mode in `dtype`: images [B, 3, S, S] to logits [B, classes] of `dtype`.

    Packs the current weights. The layout is fastest for `batch` images and works for any number. The convolutions take
    `images_at_once` images at a time, so that no activation is larger than `max_activation_bytes`; the fully connected
    layers take the whole batch.
    """

    def __init__(
        self, network: AlexNet, dtype: torch.dtype, batch: int, max_activation_bytes: int = MAX_ACTIVATION_BYTES
    ) -> None:
        layers = list(network.layers)
        end = next(at for at, layer in enumerate(layers) if layer.kind in ("dropout", "fc"))
        largest = max(math.prod(layer.outputs) for layer in layers[:end]) * dtype.itemsize
        self.dtype, self.images_at_once = dtype, max(1, max_activation_bytes // largest)
        self.batch = min(batch, self.images_at_once)
        with torch.no_grad():
            first, count = self._first_step(network, layers)
            self.convolutions = [first, *self._steps(network, layers[count:end])]
            self.fully_connected = list(self._steps(network, layers[end:]))

    def __call__(self, x: Tensor) -> Tensor:
        chunks = x.tensor_split(-(-len(x) // self.images_at_once))
        features = [_apply(self.convolutions, chunk) for chunk in chunks]
        return _apply(self.fully_connected, torch.cat(features) if len(features) > 1 else features[0])

    def _first_step(self, network: AlexNet, layers: list[Layer]) -> tuple[Step, int]:
        """The first step, and how many layers it computes."""
        conv: Any = network.get_submodule(layers[1].name)
        if layers[0].kind == "pad" and layers[1].kind == "conv" and self._is_first_layer(layers[1], conv):
            relu = isinstance(network.get_submodule(layers[2].name), nn.ReLU)
            return self._first_convolution(layers[1], conv, relu), 3 if relu else 2
        inputs = layers[0].outputs if layers[0].kind == "pad" else layers[0].inputs
        return lambda x: self._padded(x, inputs), int(layers[0].kind == "pad")

    def _steps(self, network: AlexNet, layers: list[Layer]) -> Iterator[Step]:
        factor = 1.0  # dropout's, to be multiplied into the next weights
        while layers:
            stages: list[Any] = [network.get_submodule(layer.name) for layer in layers[:2]]
            layer, stage = layers[0], stages[0]
            relu, count = isinstance(stages[-1], nn.ReLU), 1
            if layer.kind == "conv":
                yield self._conv(layer, stage, relu)
                count += relu
            elif layer.kind == "fc" and layer.groups == 1:
                yield self._linear(layer, stage, relu, factor)
                factor = 1.0
                count += relu
            elif layer.kind == "dropout":
                if len(layer.inputs) > 1:
                    yield lambda x: x.flatten(1)
                factor *= 1 if stage.inverted else 1 - stage.p
            elif layer.kind == "norm" and fusible(torch.empty(1, *layer.inputs, dtype=self.dtype), stages) == 2:
                yield self._norm_and_pool(layers[:2], *stages)
                count = 2
            elif layer.kind == "pool":
                yield self._pool(layer, stage)
            else:
                if factor != 1:
                    yield lambda x, factor=factor: x * factor
                    factor = 1.0
                if layer.kind == "fc":
                    yield lambda x: x.flatten(1)
                yield copy.deepcopy(stage).to(self.dtype)
            layers = layers[count:]

    def _padded(self, x: Tensor, shape: Shape) -> Tensor:
        """x in this dtype and channels-last memory, with zeros on the right and at the bottom up to `shape`."""
        y = torch.empty((len(x), *shape), dtype=self.dtype, memory_format=torch.channels_last)
        height, width = x.shape[2:]
        y[:, :, :height, :width] = x
        y[:, :, height:] = 0
        y[:, :, :, width:] = 0
        return y

    def _is_first_layer(self, layer: Layer, conv: Any) -> bool:
        example = torch.empty(1, *layer.inputs, dtype=self.dtype)
        form = conv.weight, conv.stride, conv.padding, layer.groups
        return self.dtype == torch.bfloat16 and is_first_layer(example, *form)

    def _first_convolution(self, layer: Layer, conv: Any, relu: bool) -> Step:
        """Zero padding and the first convolution in bfloat16, by the kernel or after space-to-depth."""
        stride, size = layer.stride, layer.kernel_size
        if kernels.has("conv1", self.dtype):
            height, width = ((length - 1) * stride + size for length in layer.outputs[1:])
            weight, bias = (t.detach().clone() for t in (conv.weight, conv.bias))
            return lambda x: conv1(space_to_depth(x, 1, height, width, self.dtype), weight, bias, stride, relu)
        height, width = (length - 1 + -(-size // stride) for length in layer.outputs[1:])
        weight = space_to_depth_weight(conv.weight, stride).contiguous(memory_format=torch.channels_last)
        convolution = self._packed_conv(weight, conv.bias, (1, 1), (0, 0), 1, (height, width), relu)
        return lambda x: convolution(space_to_depth(x, stride, height, width, torch.bfloat16))

    def _conv(self, layer: Layer, conv: Any, relu: bool) -> Step:
        form = conv.stride, conv.padding, layer.groups
        return self._packed_conv(conv.weight, conv.bias, *form, layer.inputs[1:], relu)

    def _packed_conv(
        self, weight: Tensor, bias: Tensor, stride: Any, padding: Any, groups: int, size: tuple[int, ...], relu: bool
    ) -> Step:
        weight, bias = weight.detach().to(self.dtype), bias.detach().to(self.dtype)
        form = list(padding), list(stride), [1, 1], groups
        shape = [self.batch, weight.shape[1] * groups, *size]
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *form, shape)
        convolution, activation = torch.ops.mkldnn._convolution_pointwise, "relu" if relu else "none"
        return lambda x: convolution(x, packed, bias, *form, activation, [], "")

    def _linear(self, layer: Layer, linear: Any, relu: bool, factor: float) -> Step:
        weight = (linear.weight.detach() * factor).to(self.dtype)
        if len(layer.inputs) > 1:  # columns from channels-first to channels-last order
            channels, height, width = layer.inputs
            weight = weight.unflatten(1, (channels, height, width)).permute(0, 2, 3, 1).flatten(1)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        bias = None if linear.bias is None else linear.bias.detach().to(self.dtype)
        multiply, activation = torch.ops.mkldnn._linear_pointwise, "relu" if relu else "none"

        def step(x: Tensor) -> Tensor:
            flat = x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x
            return multiply(flat, packed, bias, activation, [], "")

        return step

    def _pool(self, layer: Layer, pool: Any) -> Step:
        channels, height, width = layer.inputs
        if pool.kernel_size > min(height, width):
            return lambda x: F.max_pool2d(x, pool.kernel_size, pool.stride, ceil_mode=pool.ceil_mode)
        out = layer.outputs[1:]

        def step(x: Tensor) -> Tensor:
            y = self._empty(len(x), layer)
            kernels.call(
                "pool", x.dtype, x, y, None, len(x), height, width, channels, *out, pool.kernel_size, pool.stride
            )
            return y

        return step

    def _norm_and_pool(self, layers: list[Layer], norm: Any, pool: Any) -> Step:
        channels, height, width = layers[0].inputs
        out, window = layers[1].outputs[1:], (pool.kernel_size, pool.stride)
        relu = False  # it is computed with the convolution
        settings = norm.groups, norm.size // 2, relu, norm.alpha, norm.k

        def step(x: Tensor) -> Tensor:
            y = self._empty(len(x), layers[1])
            kernels.call("stage", x.dtype, x, y, None, len(x), height, width, channels, *out, *window, *settings)
            return y

        return step

    def _empty(self, batch: int, layer: Layer) -> Tensor:
        return torch.empty((batch, *layer.outputs), dtype=self.dtype, memory_format=torch.channels_last)


def _apply(steps: list[Step], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x
