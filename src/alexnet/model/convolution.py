"""Convolutions and their padding: `torch.nn`'s, each in the form that is fastest on a CPU.

- The gradients of weights and biases by kernels of our own, where the processor has vectors of 512 bits and, in
  bfloat16, multiplies pairs: in float32, unrounded. Elsewhere in float32 that of the biases as a sum of its own: oneDNN
  spends ten times as long on it.
- conv1, whose three channels do not fill the products that oneDNN makes, by kernels of our own: its gradients, and in
  bfloat16 itself where the processor multiplies pairs. Elsewhere in bfloat16 over blocks of 4x4 pixels: 48 channels,
  and kernels of 3x3 blocks with stride 1 instead of 11x11 pixels with stride 4.

Values and gradients are those of `torch.nn` but for the order of additions. Of operators and torch.compile see
`alexnet.model.linear`.
"""

from collections.abc import Sequence
from typing import List  # noqa: UP035  # as below

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator

# PyTorch 2.6 takes the schema of an operator from no other names of these.
Integers = List[int]  # noqa: UP006
Tensors = List[Tensor]  # noqa: UP006

MOST_FIRST = 4
"""Channels of a convolution whose gradient of weights is made by `native/first.h`: oneDNN is better with more."""


@operator("alexnet::conv")
def _conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: Integers, padding: Integers, groups: int) -> Tensor:
    """In the number format of `x`."""
    return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride, padding, 1, groups)


@_conv2d.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, stride: Integers, padding: Integers, groups: int) -> Tensor:
    return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride, padding, 1, groups)


@operator("alexnet::conv_gradient")
def _conv2d_gradient(
    x: Tensor, weight: Tensor, g: Tensor, stride: Integers, padding: Integers, groups: int, of_x: bool
) -> Tensors:
    """Gradients of weight and bias, float32, and of x where wanted."""
    made = None
    if has_own_gradient(x, weight, stride, padding, groups, x.dtype):
        made = _gradients_of_weights(x, weight, g, padding[0], groups)
    elif not of_x and groups == 1 and not any(padding) and stride[0] == stride[1]:
        made = first_gradients(x, weight, g, stride[0])
    if made is not None and not of_x:
        return made
    form = (None, stride, padding, [1, 1], False, [0, 0], groups)
    wanted = [of_x, made is None, False]
    grads = torch.ops.aten.convolution_backward(g, x, weight.to(x.dtype), *form, wanted)
    made = made or [grads[1].float(), g.float().sum((0, 2, 3))]
    return [*made, *grads[: int(of_x)]]


@_conv2d_gradient.register_fake
def _(x: Tensor, weight: Tensor, g: Tensor, stride: Integers, padding: Integers, groups: int, of_x: bool) -> Tensors:
    grads = [torch.empty_like(weight), weight.new_empty(len(weight))]
    return [*grads, *([torch.empty_like(x)] if of_x else [])]


def has_own_gradient(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int, dtype: torch.dtype
) -> bool:
    """Whether the gradients of the weights of a convolution in `dtype` are made by `native/conv.h`."""
    out, channels, height, width = weight.shape
    fits = channels % 16 == 0 and out % (32 * groups) == 0 and height == width and padding[0] == padding[1]
    if not fits or tuple(stride) != (1, 1) or not kernels.usable(x):
        return False
    return kernels.has_pairs() if dtype == torch.bfloat16 else kernels.has_vectors()


def _gradients_of_weights(x: Tensor, weight: Tensor, g: Tensor, padding: int, groups: int) -> list[Tensor] | None:
    """Of weight and bias: the products, summed in float32."""
    x, g = (t.contiguous(memory_format=torch.channels_last) for t in (x, g))
    of_weight = torch.empty_like(weight, memory_format=torch.channels_last)
    of_bias = weight.new_empty(len(weight))
    b, c, height, width = x.shape
    out, _, size, _ = weight.shape
    sizes = b, height, width, c, *g.shape[2:], out, size, padding, groups
    kernels.call("conv_gradient", x.dtype, x, g, of_weight, of_bias, *sizes)
    return [of_weight, of_bias]


def _keep_conv2d(ctx, inputs, output) -> None:
    x, weight, _, *ctx.form = inputs
    ctx.save_for_backward(x, weight)


def _conv2d_backward(ctx, g: Tensor):
    of_weight, of_bias, *of_x = _conv2d_gradient(*ctx.saved_tensors, g, *ctx.form, ctx.needs_input_grad[0])
    return of_x[0] if of_x else None, of_weight, of_bias, None, None, None


_conv2d.register_autograd(_conv2d_backward, setup_context=_keep_conv2d)


@operator("alexnet::first")
def _first(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return first(x, weight, bias, stride, relu=False)


@_first.register_fake
def _empty_first(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    out, _, size, _ = weight.shape
    shape = (len(x), out, *((length - size) // stride + 1 for length in x.shape[2:]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def first(x: Tensor, weight: Tensor, bias: Tensor, stride: int, relu: bool) -> Tensor:
    """A convolution of few channels in bfloat16, with or without ReLU: x bfloat16 [B, C, H, W], weight and bias
    float32. Only where `kernels.has_pairs()`."""
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    y = _empty_first(x, weight, bias, stride)
    kernels.call("conv1", x.dtype, x, weight, bias, y, *_first_sizes(x, weight, y, stride), relu)
    return y


def _first_sizes(x: Tensor, weight: Tensor, y: Tensor, stride: int) -> tuple[int, ...]:
    out, channels, size, _ = weight.shape
    return len(x), *x.shape[2:], channels, *y.shape[2:], out, size, stride


def first_gradients(x: Tensor, weight: Tensor, g: Tensor, stride: int) -> list[Tensor] | None:
    """Gradients of weight and bias of a convolution over few channels; None where oneDNN is to make them."""
    if weight.shape[1] > MOST_FIRST or weight.shape[2] != weight.shape[3] or not kernels.usable(x):
        return None
    if weight.shape[0] % 16 or not kernels.has("conv1_gradient", x.dtype):
        return None
    x, g = (t.contiguous(memory_format=torch.channels_last) for t in (x, g))
    of_weight = torch.empty_like(weight, memory_format=torch.channels_last)
    of_bias = weight.new_empty(len(weight))
    sizes = _first_sizes(x, weight, g, stride)
    kernels.call("conv1_gradient", x.dtype, x, g, of_weight, of_bias, *sizes)
    return [of_weight, of_bias]


@operator("alexnet::first_gradient")
def _first_gradient(x: Tensor, weight: Tensor, g: Tensor, stride: int) -> Tensors:
    grads = first_gradients(x, weight, g, stride)
    if grads is None:
        form = ([len(weight)], [stride] * 2, [0, 0], [1, 1], False, [0, 0], 1, [False, True, True])
        grads = [each.float() for each in torch.ops.aten.convolution_backward(g, x, weight.to(x.dtype), *form)[1:]]
    return grads


@_first_gradient.register_fake
def _(x: Tensor, weight: Tensor, g: Tensor, stride: int) -> Tensors:
    return [torch.empty_like(weight, memory_format=torch.channels_last), weight.new_empty(len(weight))]


def _keep_first(ctx, inputs, output) -> None:
    x, weight, _, ctx.stride = inputs
    ctx.save_for_backward(x, weight)


def _first_backward(ctx, g: Tensor):
    x, weight = ctx.saved_tensors
    return None, *_first_gradient(x, weight, g, ctx.stride), None


_first.register_autograd(_first_backward, setup_context=_keep_first)


@operator("alexnet::blocks")
def _blocks(x: Tensor, side: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    b, c, h, w = x.shape
    y = _empty_blocks(x, side, height, width, dtype)
    name = "blocks" if x.dtype == dtype else "blocks_from_float32"
    kernels.call(name, dtype, x, y, b, h, w, c, height, width, side)
    return y


@_blocks.register_fake
def _empty_blocks(x: Tensor, side: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    shape = (x.shape[0], x.shape[1] * side**2, height, width)
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def blocks(x: Tensor, side: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Blocks of `side` x `side` pixels as channels: [B, C, H, W] to [B, side * side * C, height, width], in `dtype`.

    A block's channels are its pixels row by row, each with its C values; there are zeros where it reaches past the
    image. `x` is float32, or of `dtype`. No gradient.
    """
    return _blocks(x, side, height, width, dtype)


def over_blocks(weight: Tensor, side: int) -> Tensor:
    """The kernels [out, C, K, K] of a convolution with stride `side` as kernels over blocks, with stride 1."""
    out, channels, size, _ = weight.shape
    count = -(-size // side)
    missing = count * side - size
    apart = F.pad(weight, (0, missing, 0, missing)).view(out, channels, count, side, count, side)
    return apart.permute(0, 3, 5, 1, 2, 4).reshape(out, -1, count, count)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` with biases and without dilation."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.groups)


class ZeroPad2d(nn.ZeroPad2d):
    """`torch.nn.ZeroPad2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return zero_pad(x, self.padding)


def zero_pad(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """`F.pad` of x [B, C, H, W] by (left, right, top, bottom) pixels, in one pass where that is at the end only."""
    left, right, top, bottom = padding
    if x.dim() == 4 and left == top == 0 and min(right, bottom) >= 0 and not x.requires_grad and kernels.usable(x):
        return blocks(x, 1, x.shape[2] + bottom, x.shape[3] + right, x.dtype)
    return F.pad(x, padding)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int] | str, groups: int
) -> Tensor:
    """`F.conv2d` by whichever form is fastest here."""
    dtype = kernels.computed_in(x)
    if dtype == torch.bfloat16 and in_blocks(x, weight, stride, padding, groups):
        if weight.dtype == bias.dtype == torch.float32 and kernels.has_pairs():
            return _first(x.to(dtype), weight, bias, stride[0])
        side, size = stride[0], weight.shape[2]
        height, width = ((length - size) // side + -(-size // side) for length in x.shape[2:])
        return F.conv2d(blocks(x, side, height, width, dtype), over_blocks(weight, side), bias)
    learning = torch.is_grad_enabled() and weight.requires_grad and bias.requires_grad
    if learning and not isinstance(padding, str) and weight.dtype == bias.dtype == torch.float32 and x.dim() == 4:
        if dtype == torch.float32 and kernels.has_onednn(x):
            return _conv2d(x, weight, bias, list(stride), list(padding), groups)
        if dtype == torch.bfloat16 and has_own_gradient(x, weight, stride, padding, groups, dtype):
            return _conv2d(x.to(dtype), weight, bias, list(stride), list(padding), groups)
    return F.conv2d(x, weight, bias, stride, padding, 1, groups)  # type: ignore[arg-type]


torch.fx.wrap("zero_pad")
torch.fx.wrap("conv2d")


def in_blocks(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int] | str, groups: int) -> bool:
    """Whether a convolution is one that is faster over blocks: few channels, a stride, and no gradient of `x`."""
    return (
        x.dim() == 4
        and stride[0] == stride[1] == 4
        and tuple(padding) == (0, 0)
        and groups == 1
        and weight.shape[1] == 3
        and not x.requires_grad
        and kernels.usable(x)
    )
