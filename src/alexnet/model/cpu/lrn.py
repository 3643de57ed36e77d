"""Local response normalisation on a CPU by the kernels in `lrn.h`: one pass over memory forward, one for the gradient.

The gradient needs only the input. Results are in channels-last memory.
"""

import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator

MAX_SIZE = 33
"""The widest window: `MAX_HALF` of `lrn.h` on each side."""


def takes(x: Tensor, size: int, beta: float) -> bool:
    """Whether the kernels normalise x [B, C, H, W] with windows of `size` channels: float32 or bfloat16 on a CPU, beta
    3/4, odd sizes, at least one image."""
    return beta == 0.75 and size % 2 == 1 and size <= MAX_SIZE and x.numel() > 0 and kernels.usable(x)


def local_response_norm(x: Tensor, size: int, alpha: float, k: float, groups: int, relu: bool) -> Tensor:
    """Normalisation of [B, C, H, W] with beta 3/4, or with `relu` of max(x, 0); only where `takes` says so."""
    return _lrn(x, size, alpha, k, groups, relu)


@operator("alexnet::lrn")
def _lrn(x: Tensor, size: int, alpha: float, k: float, groups: int, relu: bool) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x)
    channels = x.shape[1]
    pixels = x.numel() // channels
    kernels.call("lrn", x.dtype, x, y, pixels, channels, groups, size // 2, relu, alpha, k)
    return y


@operator("alexnet::lrn_gradient")
def _lrn_gradient(x: Tensor, g: Tensor, size: int, alpha: float, k: float, groups: int, relu: bool) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    g = g.contiguous(memory_format=torch.channels_last)
    dx = torch.empty_like(x)
    channels = x.shape[1]
    pixels = x.numel() // channels
    kernels.call("lrn_gradient", x.dtype, x, g, dx, pixels, channels, groups, size // 2, relu, alpha, k)
    return dx


@_lrn.register_fake
def _(x: Tensor, size: int, alpha: float, k: float, groups: int, relu: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@_lrn_gradient.register_fake
def _(x: Tensor, g: Tensor, size: int, alpha: float, k: float, groups: int, relu: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _save(ctx, inputs, output) -> None:
    x, *ctx.settings = inputs
    ctx.save_for_backward(x)


def _backward(ctx, g: Tensor):
    (x,) = ctx.saved_tensors
    return _lrn_gradient(x, g, *ctx.settings), *[None] * 5


_lrn.register_autograd(_backward, setup_context=_save)
