"""Normalisation within each map on a CPU by the kernels in `spatial_norm.h`: one pass forward, one for the gradient.

The gradient needs only the input. Results are in channels-last memory.
"""

import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator


def takes(x: Tensor, size: int, beta: float) -> bool:
    """Whether the kernels normalise x with windows of size x size pixels: [B, C, H, W] in float32 or bfloat16 on a CPU,
    beta 3/4, odd sizes, at least one image."""
    return beta == 0.75 and size % 2 == 1 and x.dim() == 4 and x.numel() > 0 and kernels.usable(x)


def spatial_norm(x: Tensor, size: int, alpha: float) -> Tensor:
    """Normalisation of [B, C, H, W] within each map with beta 3/4; only where `takes` says so."""
    return _spatial_norm(x, size, alpha)


@operator("alexnet::spatial_norm")
def _spatial_norm(x: Tensor, size: int, alpha: float) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x)
    b, c, h, w = x.shape
    kernels.call("spatial_norm", x.dtype, x, y, b, h, w, c, size // 2, alpha / size**2, 1.0)
    return y


@operator("alexnet::spatial_norm_gradient")
def _spatial_norm_gradient(x: Tensor, g: Tensor, size: int, alpha: float) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    g = g.contiguous(memory_format=torch.channels_last)
    dx = torch.empty_like(x)
    b, c, h, w = x.shape
    kernels.call("spatial_norm_gradient", x.dtype, x, g, dx, b, h, w, c, size // 2, alpha / size**2, 1.0)
    return dx


@_spatial_norm.register_fake
def _(x: Tensor, size: int, alpha: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@_spatial_norm_gradient.register_fake
def _(x: Tensor, g: Tensor, size: int, alpha: float) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _save(ctx, inputs, output) -> None:
    x, *ctx.settings = inputs
    ctx.save_for_backward(x)


def _backward(ctx, g: Tensor):
    (x,) = ctx.saved_tensors
    return _spatial_norm_gradient(x, g, *ctx.settings), None, None


_spatial_norm.register_autograd(_backward, setup_context=_save)
