"""Normalisation within each map: the original program's "spatial norm", which the paper does not mention.

y = x * (1 + alpha / size**2 * sum x^2) ** -beta, over the `size` x `size` pixels around in the same map, the window
clipped at the map's edges. The original has it after the second response normalisation, with alpha 1e-3.

Two forms of the same: plain PyTorch, and one pass each way in `native/spatial.h` (CPU, float32 and bfloat16, beta 3/4,
odd sizes). The second keeps only x for the gradient; its result is in channels last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator


def spatial_norm_plain(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """The formula in plain operations for [B, C, H, W] of any floating type; computed at least in float32."""
    wide = x if x.dtype == torch.float64 else x.float()
    before = size // 2
    # An average that counts the zeros outside the map is the sum divided by the whole window.
    padded = F.pad(wide.square(), (before, size - 1 - before, before, size - 1 - before))
    scale = 1 + alpha * F.avg_pool2d(padded, size, stride=1)  # [B, C, H, W]
    return (wide * scale**-beta).to(x.dtype)


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


def _keep(ctx, inputs, output) -> None:
    x, *ctx.settings = inputs
    ctx.save_for_backward(x)


def _backward(ctx, g: Tensor):
    (x,) = ctx.saved_tensors
    return _spatial_norm_gradient(x, g, *ctx.settings), None, None


_spatial_norm.register_autograd(_backward, setup_context=_keep)


def spatial_norm(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """Normalisation of [B, C, H, W] within each map by whichever form is fastest here."""
    if beta == 0.75 and size % 2 == 1 and x.dim() == 4 and kernels.usable(x):
        return _spatial_norm(x, size, alpha)
    return spatial_norm_plain(x, size, alpha, beta)


torch.fx.wrap("spatial_norm")


class SpatialNorm(nn.Module):
    """Normalisation of [B, C, H, W] within each map; see the module for the formula."""

    def __init__(self, size: int = 5, alpha: float = 1e-3, beta: float = 0.75) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        return spatial_norm(x, self.size, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}"
