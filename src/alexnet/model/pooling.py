"""Max pooling with windows clipped at the far edges (overlapping pooling: section 3.4 of the paper).

The values and gradients are PyTorch's; `cpu/pooling.py` computes them by a kernel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import pooling as cpu


class MaxPool2d(nn.Module):
    """`torch.nn.MaxPool2d(kernel_size, stride, ceil_mode=ceil_mode)`: the same values and gradients.

    Raises ValueError for windows or strides that are not one whole number from 1 up, for both axes.
    """

    def __init__(self, kernel_size: int = 3, stride: int = 2, *, ceil_mode: bool = True) -> None:
        super().__init__()
        for name, value in (("kernel_size", kernel_size), ("stride", stride)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value}; MaxPool2d takes one whole number from 1 up, for both axes.")
        self.kernel_size, self.stride, self.ceil_mode = kernel_size, stride, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return max_pool(x, self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


def max_pool(x: Tensor, kernel_size: int, stride: int, ceil_mode: bool) -> Tensor:
    """Max pooling of [B, C, H, W] without padding, by the fastest implementation."""
    if cpu.takes(x, kernel_size, stride):
        out_size = [output_size(size, kernel_size, stride, ceil_mode) for size in x.shape[2:]]
        return cpu.max_pool(x, kernel_size, stride, out_size)
    return F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)


torch.fx.wrap("max_pool")  # one node in a traced network


def output_size(size: int, kernel_size: int, stride: int, ceil_mode: bool) -> int:
    """Windows along an axis of `size`; in ceil mode also the clipped one, if it begins inside."""
    reach = size - kernel_size
    if not ceil_mode:
        return reach // stride + 1
    count = -(-reach // stride) + 1
    return count - 1 if (count - 1) * stride >= size else count
