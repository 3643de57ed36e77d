"""The windows that a locally connected layer looks at, copied in whole runs of channels, and their gradient, by the
kernels in `windows.h`.

`F.unfold` copies element by element, and puts the elements of a position far apart: the matrix multiplications, one for
each position, then need a copy of their own.
"""

import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator


def takes(x: Tensor) -> bool:
    """Whether `windows` takes x [B, C, H, W]."""
    return x.dim() == 4 and kernels.usable(x)


@operator("alexnet::windows")
def windows(x: Tensor, size: int, padding: int) -> Tensor:
    """What each window of size x size pixels sees of x [B, C, H, W]: [H' W', B, size size C]."""
    x = x.contiguous(memory_format=torch.channels_last)
    y = empty_windows(x, size, padding)
    kernels.call("windows", x.dtype, x, y, *_sizes(x), size, padding)
    return y


@windows.register_fake
def empty_windows(x: Tensor, size: int, padding: int) -> Tensor:
    height, width = (length + 2 * padding - size + 1 for length in x.shape[2:])
    return x.new_empty(height * width, len(x), size * size * x.shape[1])


def _sizes(x: Tensor) -> tuple[int, ...]:
    """Batch, height, width, channels."""
    return len(x), *x.shape[2:], x.shape[1]


@operator("alexnet::windows_gradient")
def _windows_gradient(g: Tensor, channels: int, height: int, width: int, size: int, padding: int) -> Tensor:
    dx = _empty_image(g, channels, height, width, size, padding)
    kernels.call("windows_gradient", g.dtype, g.contiguous(), dx, *_sizes(dx), size, padding)
    return dx


@_windows_gradient.register_fake
def _empty_image(g: Tensor, channels: int, height: int, width: int, size: int, padding: int) -> Tensor:
    shape = (g.shape[1], channels, height, width)
    return torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)


def _save(ctx, inputs, output) -> None:
    x, *settings = inputs
    ctx.settings = *x.shape[1:], *settings


def _backward(ctx, g: Tensor):
    return _windows_gradient(g, *ctx.settings), None, None


windows.register_autograd(_backward, setup_context=_save)
