"""Two layers that PyTorch lacks: fully connected in groups, and convolution with kernels that are not shared."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupedLinear(nn.Module):
    """`nn.Linear` in `groups` parts of inputs and outputs that see only each other: [B, in] to [B, out].

    What towers that never exchange have for fc6 and fc7 (the program's definition 150). Weight [out, in / groups].
    """

    def __init__(self, in_features: int, out_features: int, groups: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.groups = in_features, out_features, groups
        self.weight = nn.Parameter(torch.empty(out_features, in_features // groups).normal_(0, 0.01))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(*(t.chunk(self.groups, -1) for t in (x, self.bias)), self.weight.chunk(self.groups), strict=True)
        return torch.cat([F.linear(part, weight, bias) for part, bias, weight in parts], 1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, groups={self.groups}"


class Local2d(nn.Module):
    """Convolution whose kernels and biases differ from place to place: [B, in, H, W] to [B, out, H', W'].

    The `local` layers of the program's CIFAR-10 networks. Weight [H' W', out, in size size], bias [out, H', W'].
    """

    def __init__(self, in_channels: int, outputs: tuple[int, ...], kernel_size: int, padding: int) -> None:
        super().__init__()
        self.outputs, self.kernel_size, self.padding = outputs, kernel_size, padding
        channels, height, width = outputs
        weight = torch.empty(height * width, channels, in_channels * kernel_size**2).normal_(0, 0.01)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        windows = F.unfold(x, self.kernel_size, padding=self.padding)  # [B, in size size, H' W']
        y = torch.bmm(windows.permute(2, 0, 1), self.weight.transpose(1, 2))  # [H' W', B, out]
        return y.permute(1, 2, 0).unflatten(2, self.outputs[1:]) + self.bias

    def extra_repr(self) -> str:
        return f"outputs={self.outputs}, kernel_size={self.kernel_size}, padding={self.padding}"
