"""Convolutions on a CPU: what computes each, and the operators around the C++ kernels.

`implementation` says what computes a convolution, `weight_gradient_kernel` which kernel computes the gradients of its
weights and bias. Values and gradients are those of `F.conv2d` but for the order of additions; the kernels' gradients
are float32 and never rounded. For operators and torch.compile see `alexnet.model.cpu.linear`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import Integers, Tensors, operator

Implementation = Literal["pytorch", "onednn", "conv1", "space-to-depth"]
"""What computes a convolution:

- pytorch: PyTorch, gradients included.
- onednn: oneDNN. Gradients of weights and bias by a kernel where there is one. Elsewhere oneDNN computes those of the
  weights, and those of the bias are a sum of their own, on which oneDNN would spend ten times as long.
- conv1: the kernel for the first layer (`conv1.h`), whose 3 channels do not fill oneDNN's matrix multiplications.
- space-to-depth: the paper's first layer in bfloat16 without that kernel: blocks of 4x4 pixels become 48 channels, and
  11x11 kernels with stride 4 become kernels of 3x3 blocks with stride 1.
"""

CONV1_CHANNELS = 4
"""Most input channels for `conv1_gradient`: with more, oneDNN is faster."""
CONV1_FLOAT32_OUT = 32
"""Most output channels for `conv1` in float32: with more, oneDNN is as fast."""


def implementation(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int] | str, groups: int
) -> Implementation:
    """What computes `F.conv2d(x, weight, bias, stride, padding, groups=groups)` here."""
    dtype = kernels.multiplied_in(x, weight, bias)
    if dtype is None or isinstance(padding, str) or not is_valid(x, weight, bias, stride, padding, groups):
        return "pytorch"
    float_weights = weight.dtype == bias.dtype == torch.float32
    learns = torch.is_grad_enabled() and weight.requires_grad and bias.requires_grad
    if is_first_layer(x, weight, stride, padding, groups):
        few = len(weight) <= CONV1_FLOAT32_OUT and learns
        if float_weights and kernels.has("conv1", dtype) and (dtype == torch.bfloat16 or few):
            return "conv1"
        if dtype == torch.bfloat16:
            return "space-to-depth"
    if not learns or not float_weights:
        return "pytorch"
    if dtype == torch.float32 and kernels.has_onednn(x):
        return "onednn"
    kernel = weight_gradient_kernel(x, weight, stride, padding, groups, dtype)
    return "onednn" if dtype == torch.bfloat16 and kernel == "conv_gradient" else "pytorch"


def is_valid(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int
) -> bool:
    """Whether the shapes fit each other, in four dimensions and with at least one image. PyTorch takes the others, or
    says what is wrong with them."""
    return (
        x.dim() == weight.dim() == 4
        and x.numel() > 0
        and weight.numel() > 0
        and x.shape[1] == weight.shape[1] * groups
        and len(weight) % groups == 0
        and bias.shape == (len(weight),)
        and min(stride) >= 1
        and min(padding) >= 0
        and all(n + 2 * p >= k for n, p, k in zip(x.shape[2:], padding, weight.shape[2:], strict=True))
    )


def is_first_layer(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int) -> bool:
    """Whether a valid convolution has conv1's form: 3 channels, square kernels, stride 4, no padding, and no gradient
    of `x`."""
    return (
        stride[0] == stride[1] == 4
        and tuple(padding) == (0, 0)
        and groups == 1
        and weight.shape[1] == 3
        and weight.shape[2] == weight.shape[3]
        and not x.requires_grad
        and kernels.usable(x)
    )


def weight_gradient_kernel(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], groups: int, dtype: torch.dtype
) -> Literal["conv1_gradient", "conv_gradient"] | None:
    """The kernel that computes the gradients of weight and bias of a convolution in `dtype`; None: oneDNN does."""
    out, channels, height, width = weight.shape
    if height != width or stride[0] != stride[1] or padding[0] != padding[1] or not kernels.usable(x):
        return None
    whole = channels % 16 == 0 and out % (32 * groups) == 0  # other numbers do not fill the kernel's tiles
    if stride[0] == 1 and channels > CONV1_CHANNELS and (whole or dtype == torch.bfloat16):
        return "conv_gradient" if kernels.has("conv_gradient", dtype) else None
    if channels <= CONV1_CHANNELS and padding[0] == 0 and groups == 1:
        return "conv1_gradient" if kernels.has("conv1_gradient", dtype) else None
    return None


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    groups: int,
    how: Implementation,
) -> Tensor:
    """`F.conv2d` of x [B, C, H, W], computed as `implementation` says (anything but "pytorch")."""
    dtype = kernels.computed_in(x)
    if how == "onednn":
        return _conv2d(x.to(dtype), weight, bias, list(stride), list(padding), groups)
    if how == "conv1":
        return _conv1(x.to(dtype), weight, bias, stride[0])
    side, size = stride[0], weight.shape[2]
    height, width = ((length - size) // side + -(-size // side) for length in x.shape[2:])
    return F.conv2d(space_to_depth(x, side, height, width, dtype), space_to_depth_weight(weight, side), bias)


# ---- The operators ----


@operator("alexnet::conv2d")
def _conv2d(x: Tensor, weight: Tensor, bias: Tensor, stride: Integers, padding: Integers, groups: int) -> Tensor:
    return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride, padding, 1, groups)


@_conv2d.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, stride: Integers, padding: Integers, groups: int) -> Tensor:
    return F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride, padding, 1, groups)


@operator("alexnet::conv2d_gradient")
def _conv2d_gradient(
    x: Tensor, weight: Tensor, g: Tensor, stride: Integers, padding: Integers, groups: int, of_x: bool
) -> Tensors:
    """Gradients of weight and bias in float32 and, with `of_x`, of x."""
    kernel = weight_gradient_kernel(x, weight, stride, padding, groups, x.dtype)
    of_weight_and_bias = kernel and _weight_gradient(kernel, x, weight, g, stride[0], padding[0], groups)
    if of_weight_and_bias and not of_x:
        return of_weight_and_bias
    settings = (None, stride, padding, [1, 1], False, [0, 0], groups)
    wanted = [of_x, not of_weight_and_bias, False]
    by_onednn = torch.ops.aten.convolution_backward(g, x, weight.to(x.dtype), *settings, wanted)
    if not of_weight_and_bias:
        of_weight_and_bias = [_laid_out_as(weight, by_onednn[1].float()), g.float().sum((0, 2, 3))]
    return [*of_weight_and_bias, *([by_onednn[0]] if of_x else [])]


@_conv2d_gradient.register_fake
def _(x: Tensor, weight: Tensor, g: Tensor, stride: Integers, padding: Integers, groups: int, of_x: bool) -> Tensors:
    return [torch.empty_like(weight), weight.new_empty(len(weight)), *([torch.empty_like(x)] if of_x else [])]


def _weight_gradient(
    kernel: str, x: Tensor, weight: Tensor, g: Tensor, stride: int, padding: int, groups: int
) -> list[Tensor]:
    """Gradients of weight [out, C / groups, K, K] and bias [out] by a kernel, float32; g [B, out, H', W']."""
    x, g = (t.contiguous(memory_format=torch.channels_last) for t in (x, g))
    of_weight = torch.empty_like(weight, memory_format=torch.channels_last)
    of_bias = weight.new_empty(len(weight))
    settings = (stride,) if kernel == "conv1_gradient" else (padding, groups)
    kernels.call(kernel, x.dtype, x, g, of_weight, of_bias, *_sizes(x, weight, g), *settings)
    return [_laid_out_as(weight, of_weight), of_bias]


def _sizes(x: Tensor, weight: Tensor, y: Tensor) -> tuple[int, ...]:
    """Batch, height, width, channels, height and width of the output, output channels, kernel size."""
    out, _, size, _ = weight.shape
    return len(x), *x.shape[2:], x.shape[1], *y.shape[2:], out, size


def _laid_out_as(weight: Tensor, gradient: Tensor) -> Tensor:
    """`gradient` with the strides of `weight`, which torch.compile expects."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)


def _save_conv2d(ctx, inputs, output) -> None:
    x, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(x, weight)


def _conv2d_backward(ctx, g: Tensor):
    of_weight, of_bias, *of_x = _conv2d_gradient(*ctx.saved_tensors, g, *ctx.settings, ctx.needs_input_grad[0])
    return of_x[0] if of_x else None, of_weight, of_bias, None, None, None


_conv2d.register_autograd(_conv2d_backward, setup_context=_save_conv2d)


@operator("alexnet::conv1")
def _conv1(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return conv1(x, weight, bias, stride, relu=False)


@_conv1.register_fake
def _empty_conv1(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    out, _, size, _ = weight.shape
    shape = (len(x), out, *((length - size) // stride + 1 for length in x.shape[2:]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def conv1(x: Tensor, weight: Tensor, bias: Tensor, stride: int, relu: bool) -> Tensor:
    """The first layer by its kernel, with or without ReLU: bfloat16 [B, out, H', W'], without gradients.

    `x` bfloat16 [B, C, H, W]; weight [out, C, K, K] and bias [out] float32. Only where `kernels.has("conv1", x.dtype)`.
    """
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    bias = bias.contiguous()
    y = _empty_conv1(x, weight, bias, stride)
    kernels.call("conv1", x.dtype, x, weight, bias, y, *_sizes(x, weight, y), stride, relu)
    return y


def _save_conv1(ctx, inputs, output) -> None:
    x, weight, _, ctx.stride = inputs
    ctx.save_for_backward(x, weight)


def _conv1_backward(ctx, g: Tensor):
    x, weight = ctx.saved_tensors
    return None, *_conv2d_gradient(x, weight, g, [ctx.stride] * 2, [0, 0], 1, False), None


_conv1.register_autograd(_conv1_backward, setup_context=_save_conv1)


# ---- Space-to-depth ----


@operator("alexnet::space_to_depth")
def _space_to_depth(x: Tensor, side: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    y = _empty_space_to_depth(x, side, height, width, dtype)
    name = "space_to_depth" if x.dtype == dtype else "space_to_depth_from_float32"
    kernels.call(name, dtype, x, y, len(x), *x.shape[2:], x.shape[1], height, width, side)
    return y


@_space_to_depth.register_fake
def _empty_space_to_depth(x: Tensor, side: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    shape = (x.shape[0], x.shape[1] * side**2, height, width)
    return torch.empty(shape, dtype=dtype, device=x.device, memory_format=torch.channels_last)


def space_to_depth(x: Tensor, side: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Blocks of `side` x `side` pixels as channels: [B, C, H, W] to [B, side * side * C, height, width], in `dtype`.

    The channels of a block are its pixels row by row, each with its C values. Beyond the image there are zeros, and
    what lies beyond `height` x `width` blocks is cut off. `x` is float32 or of `dtype`. No gradient.
    """
    return _space_to_depth(x, side, height, width, dtype)


def space_to_depth_weight(weight: Tensor, side: int) -> Tensor:
    """The weight [out, C, K, K] of a convolution with stride `side`, for stride 1 over blocks of `space_to_depth`:
    [out, side * side * C, K', K'] with K' = K / side rounded up."""
    out, channels, size, _ = weight.shape
    blocks = -(-size // side)
    missing = blocks * side - size
    split = F.pad(weight, (0, missing, 0, missing)).view(out, channels, blocks, side, blocks, side)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(out, -1, blocks, blocks)


def can_pad_end(x: Tensor, padding: tuple[int, int, int, int]) -> bool:
    """Whether `pad_end` can pad x by (left, right, top, bottom) pixels."""
    left, right, top, bottom = padding
    at_end = left == top == 0 and min(right, bottom) >= 0
    return x.dim() == 4 and x.numel() > 0 and at_end and not x.requires_grad and kernels.usable(x)


def pad_end(x: Tensor, right: int, bottom: int) -> Tensor:
    """Zeros to the right of and below x [B, C, H, W], in one pass. No gradient."""
    return space_to_depth(x, 1, x.shape[2] + bottom, x.shape[3] + right, x.dtype)
