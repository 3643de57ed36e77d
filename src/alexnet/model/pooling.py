"""Max pooling with windows clipped at the far edges (overlapping pooling: section 3.4 of the paper).

On the CPU `cpu/pool.h` keeps the index of each maximum in one byte, where torch keeps eight.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator

MAX_KERNEL = 16  # a place in the window fits into one byte


def output_size(size: int, kernel_size: int, stride: int, ceil_mode: bool) -> int:
    """Windows along an axis of `size`; in ceil mode also the clipped one, if it begins inside."""
    reach = size - kernel_size
    if not ceil_mode:
        return reach // stride + 1
    count = -(-reach // stride) + 1
    return count - 1 if (count - 1) * stride >= size else count


@operator("alexnet::max_pool")
def _max_pool(x: Tensor, kernel_size: int, stride: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    x = x.contiguous(memory_format=torch.channels_last)
    y, place = empty_pooled(x, height, width)
    b, c, h, w = x.shape
    kernels.call("pool", x.dtype, x, y, place, b, h, w, c, height, width, kernel_size, stride)
    return y, place


@operator("alexnet::max_pool_gradient")
def _max_pool_gradient(g: Tensor, place: Tensor, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    g = g.contiguous(memory_format=torch.channels_last)
    b, c, out_height, out_width = g.shape
    dx, _ = empty_pooled(g, height, width)
    kernels.call(
        "pool_gradient",
        g.dtype,
        g,
        place,
        dx,
        b,
        height,
        width,
        c,
        out_height,
        out_width,
        kernel_size,
        stride,
    )
    return dx


def empty_pooled(like: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Room for height x width pixels with the batch and channels of `like`, and one byte for each value."""
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
def _(g: Tensor, place: Tensor, kernel_size: int, stride: int, height: int, width: int) -> Tensor:
    return empty_pooled(g, height, width)[0]


def _keep(ctx, inputs, output) -> None:
    x, kernel_size, stride, _, _ = inputs
    ctx.set_materialize_grads(False)  # the places of the maxima have none
    ctx.save_for_backward(output[1])
    ctx.settings = kernel_size, stride, x.shape[2], x.shape[3]


def _backward(ctx, g: Tensor, _: Tensor):
    (place,) = ctx.saved_tensors
    return _max_pool_gradient(g, place, *ctx.settings), None, None, None, None


_max_pool.register_autograd(_backward, setup_context=_keep)


def max_pool(x: Tensor, kernel_size: int, stride: int, ceil_mode: bool) -> Tensor:
    """Max pooling of [B, C, H, W] without padding, by whichever form is fastest here."""
    if x.dim() == 4 and kernel_size <= min(MAX_KERNEL, *x.shape[2:]) and kernels.usable(x):
        height, width = (output_size(size, kernel_size, stride, ceil_mode) for size in x.shape[2:])
        return _max_pool(x, kernel_size, stride, height, width)[0]
    return F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)


torch.fx.wrap("max_pool")


class MaxPool2d(nn.Module):
    """`torch.nn.MaxPool2d(kernel_size, stride, ceil_mode=ceil_mode)`: the same values and gradients."""

    def __init__(self, kernel_size: int = 3, stride: int = 2, ceil_mode: bool = True) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.ceil_mode = kernel_size, stride, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return max_pool(x, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"
