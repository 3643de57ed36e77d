"""A network made ready to answer on a CPU: the same layers, without all that only training needs.

Weights are converted to the number format and laid out for oneDNN once, not in every call; ReLU is part of the
product before it, dropout's factor part of the weights after it; pooling does not note where its maxima were. Values
are those of `AlexNet` in eval mode but for rounding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.convolution import blocks, first, in_blocks, over_blocks
from alexnet.model.cpu import kernels
from alexnet.model.layers import Layer, Shape
from alexnet.model.network import AlexNet
from alexnet.model.stage import fusible, watched

Step = Callable[[Tensor], Tensor]

LARGEST = 8 << 20
"""Bytes of an activation at most: so many stay in cache, and below 32 MiB the GNU C library keeps freed memory for the
next tensor instead of asking the system again, which took a fifth of the time of 64 images."""


def ready_for(network: AlexNet, x: Tensor, dtype: torch.dtype) -> bool:
    """Whether `Ready` can stand for `network` with `x`: nobody learns, nobody looks in between, on a CPU."""
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
        and not any(watched(stage) for stage in network.modules() if stage is not network)
        and all(p.device.type == "cpu" and p.dtype == torch.float32 for p in network.parameters())
    )


def state_of(network: AlexNet) -> tuple[tuple[int, int], ...]:
    """Changes when a weight is replaced or changed in place (but not through `.data`, which PyTorch hides)."""
    return tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in network.parameters())


def _through(steps: list[Step], x: Tensor) -> Tensor:
    for step in steps:
        x = step(x)
    return x


class Ready:
    """`network` in eval mode, computing in `dtype`: images [B, 3, S, S] to logits [B, classes] of `dtype`.

    It keeps the weights as they are now. `batch` is the number of images that the layout suits best; any will do.
    Through the convolutions go as many together as `LARGEST` allows, through the fully connected layers all.
    """

    def __init__(self, network: AlexNet, dtype: torch.dtype, batch: int) -> None:
        layers = list(network.layers)
        end = next(at for at, layer in enumerate(layers) if layer.kind in ("dropout", "fc"))
        largest = max(math.prod(layer.outputs) for layer in layers[:end]) * dtype.itemsize
        self.dtype, self.together = dtype, max(1, LARGEST // largest)
        self.batch = min(batch, self.together)
        with torch.no_grad():
            start, done = self._start(network, layers)
            self.convolutions = [start, *self._steps(network, layers[done:end])]
            self.full = list(self._steps(network, layers[end:]))

    def __call__(self, x: Tensor) -> Tensor:
        parts = [_through(self.convolutions, part) for part in x.tensor_split(-(-len(x) // self.together))]
        return _through(self.full, torch.cat(parts) if len(parts) > 1 else parts[0])

    def _start(self, network: AlexNet, layers: list[Layer]) -> tuple[Step, int]:
        """What makes of images what the layers take, and how many of the first of them it is itself."""
        conv: Any = network.get_submodule(layers[1].name)
        if layers[0].kind == "pad" and layers[1].kind == "conv" and self._goes_over_blocks(layers[1], conv):
            rectify = isinstance(network.get_submodule(layers[2].name), nn.ReLU)
            return self._first_over_blocks(layers[1], conv, rectify), 3 if rectify else 2
        inputs = layers[0].outputs if layers[0].kind == "pad" else layers[0].inputs
        return lambda x: self._padded(x, inputs), int(layers[0].kind == "pad")

    def _steps(self, network: AlexNet, layers: list[Layer]) -> Iterator[Step]:
        factor = 1.0  # dropout's, that the next weights take over
        while layers:
            stages: list[Any] = [network.get_submodule(layer.name) for layer in layers[:2]]
            layer, stage = layers[0], stages[0]
            rectify, count = isinstance(stages[-1], nn.ReLU), 1
            if layer.kind == "conv":
                yield self._conv(layer, stage, rectify)
                count += rectify
            elif layer.kind == "fc" and layer.groups == 1:
                yield self._linear(layer, stage, rectify, factor)
                factor = 1.0
                count += rectify
            elif layer.kind == "dropout":
                if len(layer.inputs) > 1:
                    yield lambda x: x.flatten(1)
                factor *= 1 if stage.scaled else 1 - stage.p
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

    def _padded(self, x: Tensor, to: Shape) -> Tensor:
        """With zeros at the right and at the bottom, converted and channels last in one pass."""
        y = torch.empty((len(x), *to), dtype=self.dtype, memory_format=torch.channels_last)
        height, width = x.shape[2:]
        y[:, :, :height, :width] = x
        y[:, :, height:] = 0
        y[:, :, :, width:] = 0
        return y

    def _goes_over_blocks(self, layer: Layer, conv: Any) -> bool:
        example = torch.empty(1, *layer.inputs, dtype=self.dtype)
        settings = conv.weight, conv.stride, conv.padding, layer.groups
        return self.dtype == torch.bfloat16 and in_blocks(example, *settings)

    def _first_over_blocks(self, layer: Layer, conv: Any, rectify: bool) -> Step:
        """The first convolution in bfloat16; blocks that reach past the image are its padding."""
        side, size = layer.stride, layer.kernel_size
        if kernels.has_pairs():
            height, width = ((n - 1) * side + size for n in layer.outputs[1:])
            weight, bias = (t.detach().clone() for t in (conv.weight, conv.bias))
            return lambda x: first(blocks(x, 1, height, width, self.dtype), weight, bias, side, rectify)
        height, width = (length - 1 + -(-size // side) for length in layer.outputs[1:])
        weight = over_blocks(conv.weight, side).contiguous(memory_format=torch.channels_last)
        after = "relu" if rectify else "none"
        product = self._packed_conv(weight, conv.bias, (1, 1), (0, 0), 1, (height, width), after)
        return lambda x: product(blocks(x, side, height, width, torch.bfloat16))

    def _conv(self, layer: Layer, conv: Any, rectify: bool) -> Step:
        after = "relu" if rectify else "none"
        return self._packed_conv(
            conv.weight, conv.bias, conv.stride, conv.padding, layer.groups, layer.inputs[1:], after
        )

    def _packed_conv(
        self, weight: Tensor, bias: Tensor, stride: Any, padding: Any, groups: int, size: tuple[int, ...], after: str
    ) -> Step:
        weight, bias = weight.detach().to(self.dtype), bias.detach().to(self.dtype)
        form = list(padding), list(stride), [1, 1], groups
        shape = [self.batch, weight.shape[1] * groups, *size]
        packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *form, shape)
        convolution = torch.ops.mkldnn._convolution_pointwise
        return lambda x: convolution(x, packed, bias, *form, after, [], "")

    def _linear(self, layer: Layer, linear: Any, rectify: bool, factor: float) -> Step:
        weight = (linear.weight.detach() * factor).to(self.dtype)
        if len(layer.inputs) > 1:  # the pixels lie one after the other in memory, each with its channels
            channels, height, width = layer.inputs
            weight = weight.unflatten(1, (channels, height, width)).permute(0, 2, 3, 1).flatten(1)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        bias = None if linear.bias is None else linear.bias.detach().to(self.dtype)
        product, after = torch.ops.mkldnn._linear_pointwise, "relu" if rectify else "none"

        def step(x: Tensor) -> Tensor:
            flat = x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x
            return product(flat, packed, bias, after, [], "")

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
        relu = 0  # it has been part of the product
        settings = norm.groups, norm.size // 2, relu, norm.alpha, norm.k

        def step(x: Tensor) -> Tensor:
            y = self._empty(len(x), layers[1])
            kernels.call("stage", x.dtype, x, y, None, len(x), height, width, channels, *out, *window, *settings)
            return y

        return step

    def _empty(self, batch: int, layer: Layer) -> Tensor:
        return torch.empty((batch, *layer.outputs), dtype=self.dtype, memory_format=torch.channels_last)
