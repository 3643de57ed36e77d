"""The windows that a locally connected layer looks at, copied in whole runs of channels; and their gradient.

`F.unfold` copies element by element, and puts the elements of a position far apart: the matrix multiplications, one for
each position, then need a copy of their own.
"""

import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator


def takes(x: Tensor) -> bool:
    """Whether `windows` takes x, [B, C, H, W]."""
    return x.device.type == "cpu" and x.dtype in kernels.DTYPES and not kernels.plain_only()


@operator("alexnet::windows")
def windows(x: Tensor, size: int, padding: int) -> Tensor:
    """What each window of size x size pixels sees of x [B, C, H, W]: [H' W', B, size size C]."""
    channels, height, width = x.shape[1:]
    placed = x.new_zeros(height + 2 * padding, width + 2 * padding, len(x), channels)
    inside(placed, padding).copy_(x.permute(2, 3, 0, 1))
    height, width = (length - size + 1 for length in placed.shape[:2])
    parts = [placed[i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return torch.cat(parts, 3).flatten(0, 1)


@windows.register_fake
def _(x: Tensor, size: int, padding: int) -> Tensor:
    height, width = (length + 2 * padding - size + 1 for length in x.shape[2:])
    return x.new_empty(height * width, len(x), size * size * x.shape[1])


def inside(placed: Tensor, padding: int) -> Tensor:
    """`placed`, [H, W, ...], without `padding` rows and columns on each side."""
    return placed[padding : placed.shape[0] - padding, padding : placed.shape[1] - padding]


@operator("alexnet::windows_gradient")
def _windows_gradient(g: Tensor, channels: int, height: int, width: int, size: int, padding: int) -> Tensor:
    placed = g.new_zeros(height + 2 * padding, width + 2 * padding, g.shape[1], channels)
    rows, columns = (length - size + 1 for length in placed.shape[:2])
    parts = g.unflatten(0, (rows, columns)).unflatten(3, (size * size, channels))
    for number in range(size * size):
        i, j = divmod(number, size)
        placed[i : i + rows, j : j + columns] += parts[:, :, :, number]
    return inside(placed, padding).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


@_windows_gradient.register_fake
def _(g: Tensor, channels: int, height: int, width: int, size: int, padding: int) -> Tensor:
    return g.new_empty(g.shape[1], channels, height, width).contiguous(memory_format=torch.channels_last)


def _save(ctx, inputs, output) -> None:
    x, *settings = inputs
    ctx.settings = *x.shape[1:], *settings


def _backward(ctx, g: Tensor):
    return _windows_gradient(g, *ctx.settings), None, None


windows.register_autograd(_backward, setup_context=_save)
