"""Max pooling on a CPU by the kernels in `pool.h`, which keep the index of each maximum in one byte; torch keeps eight.

Results are in channels-last memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator

MAX_KERNEL = 16
"""The largest window: an index in it fits into one byte."""


def takes(x: Tensor, kernel_size: int, stride: int) -> bool:
    """Whether the kernels pool x [B, C, H, W] with these windows: float32 or bfloat16 on a CPU, at least one image."""
    fits = x.dim() == 4 and x.numel() > 0 and 1 <= kernel_size <= min(MAX_KERNEL, *x.shape[2:])
    return fits and stride >= 1 and kernels.usable(x)


def max_pool(x: Tensor, kernel_size: int, stride: int, out_size: Sequence[int]) -> Tensor:
    """Max pooling of [B, C, H, W] to `out_size` = (height, width), windows clipped at the far edges; only where `takes`
    says so."""
    return _max_pool(x, kernel_size, stride, *out_size)[0]


@operator("alexnet::max_pool")
def _max_pool(x: Tensor, kernel_size: int, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The maxima, and the index of each within its window."""
    x = x.contiguous(memory_format=torch.channels_last)
    y, index = empty_pooled(x, height, width)
    b, c, h, w = x.shape
    kernels.call("pool", x.dtype, x, y, index, b, h, w, c, height, width, kernel_size, stride)
    return y, index


@operator("alexnet::max_pool_gradient")
def _max_pool_gradient(g: Tensor, index: Tensor, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    g = g.contiguous(memory_format=torch.channels_last)
    b, c, *out_size = g.shape
    dx, _ = empty_pooled(g, height, width)
    sizes = b, height, width, c, *out_size, kernel_size, stride
    kernels.call("pool_gradient", g.dtype, g, index, dx, *sizes)
    return dx


def empty_pooled(like: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Memory for height x width pixels with the batch, channels and type of `like`, and for one byte per value."""
    shape = (*like.shape[:2], height, width)
    channels_last = torch.channels_last
    return (
        torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=channels_last),
        torch.empty(shape, dtype=torch.uint8, device=like.device, memory_format=channels_last),
    )


@_max_pool.register_fake
def _(x: Tensor, kernel_size: int, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    return empty_pooled(x, height, width)


@_max_pool_gradient.register_fake
def _(g: Tensor, index: Tensor, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    return empty_pooled(g, height, width)[0]


def _save(ctx, inputs, output) -> None:
    x, kernel_size, stride, _, _ = inputs
    ctx.set_materialize_grads(False)  # an index has no gradient
    ctx.save_for_backward(output[1])
    ctx.settings = kernel_size, stride, x.shape[2], x.shape[3]


def _backward(ctx, g: Tensor, _: Tensor):
    (index,) = ctx.saved_tensors
    return _max_pool_gradient(g, index, *ctx.settings), None, None, None, None


_max_pool.register_autograd(_backward, setup_context=_save)
