"""Two layers that PyTorch lacks: grouped fully connected, and locally connected (convolution without sharing)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import windows as cpu
from alexnet.model.cpu.kernels import computed_in


class GroupedLinear(nn.Module):
    """`nn.Linear` in `groups`, each from its own inputs to its own outputs: [B, in] to [B, out].

    fc6 and fc7 of towers that never exchange (docs/specification.md, "The comparisons the original ran", definition
    150). Weight [out, in / groups], bias [out].

    Raises ValueError for inputs or outputs that do not divide into the groups, and for an input of another shape.
    """

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        if groups < 1 or in_features % groups or out_features % groups:
            raise ValueError(f"{in_features} inputs and {out_features} outputs do not divide into {groups} groups.")
        self.in_features, self.out_features, self.groups = in_features, out_features, groups
        self.weight = nn.Parameter(torch.empty(out_features, in_features // groups).normal_(0, 0.01))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"This layer takes [B, {self.in_features}], not {list(x.shape)}.")
        groups = zip(x.chunk(self.groups, 1), self.weight.chunk(self.groups), self.bias.chunk(self.groups), strict=True)
        return torch.cat([F.linear(inputs, weight, bias) for inputs, weight, bias in groups], 1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, groups={self.groups}"


class Local2d(nn.Module):
    """Convolution with its own kernels and biases at each output position: [B, in, H, W] to [B, out, H', W'].

    The `local` layers of the original program's CIFAR-10 networks. Stride 1. Weight [H' W', out, in K K], bias [out,
    H', W'].

    Raises ValueError for an input of another shape.
    """

    def __init__(self, in_channels: int, outputs: tuple[int, ...], kernel_size: int, padding: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.outputs, self.kernel_size, self.padding = outputs, kernel_size, padding
        channels, height, width = outputs
        weight = torch.empty(height * width, channels, in_channels * kernel_size**2).normal_(0, 0.01)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        channels, *size = self.in_channels, *(n - 2 * self.padding + self.kernel_size - 1 for n in self.outputs[1:])
        if x.dim() != 4 or list(x.shape[1:]) != [channels, *size]:
            raise ValueError(f"This layer takes [B, {channels}, {size[0]}, {size[1]}], not {list(x.shape)}.")
        dtype = computed_in(x)
        weight = self.weight.to(dtype)  # [H' W', out, in K K]
        if cpu.takes(x):
            windows = cpu.windows(x.to(dtype), self.kernel_size, self.padding)  # [H' W', B, K K in]
            weight = weight.unflatten(2, (channels, -1)).transpose(2, 3).flatten(2)
        else:
            windows = F.unfold(x, self.kernel_size, padding=self.padding).permute(2, 0, 1)  # [H' W', B, in K K]
        bias = self.bias.to(dtype).flatten(1).t()[:, None]  # [H' W', 1, out]
        y = torch.baddbmm(bias, windows, weight.transpose(1, 2))  # [H' W', B, out]
        return y.unflatten(0, self.outputs[1:]).permute(2, 3, 0, 1)

    def extra_repr(self) -> str:
        return f"outputs={self.outputs}, kernel_size={self.kernel_size}, padding={self.padding}"
