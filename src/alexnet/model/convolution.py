"""Convolutions and zero padding: `torch.nn`'s, by the fastest implementation (on a CPU: `cpu/convolution.py`)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import convolution as cpu


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`: [B, in, H, W] to [B, out, H', W']. Fast with a bias, zero padding and without dilation."""

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is None or self.padding_mode != "zeros" or tuple(self.dilation) != (1, 1):
            return super().forward(x)
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, self.groups)


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int] | str, groups: int
) -> Tensor:
    """`F.conv2d` by the fastest implementation; `cpu.convolution.implementation` says which that is."""
    how = cpu.implementation(x, weight, bias, stride, padding, groups)
    if how == "pytorch":
        return F.conv2d(x, weight, bias, stride, padding, 1, groups)  # type: ignore[arg-type]
    assert not isinstance(padding, str)
    return cpu.conv2d(x, weight, bias, stride, padding, groups, how)


class ZeroPad2d(nn.ZeroPad2d):
    """`torch.nn.ZeroPad2d`: zeros on the (left, right, top, bottom) of [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return zero_pad(x, self.padding)


def zero_pad(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """`F.pad` of x [B, C, H, W] by (left, right, top, bottom) pixels."""
    if cpu.can_pad_end(x, padding):
        return cpu.pad_end(x, padding[1], padding[3])
    return F.pad(x, padding)


# One node each in a traced network.
torch.fx.wrap("conv2d")
torch.fx.wrap("zero_pad")
