"""Local response normalisation (section 3.3 of the paper), per tower as on the paper's two GPUs.

y_i = x_i * (k + alpha * sum_j x_j^2) ** -beta, j over the `size` neighbouring channels of the same tower, the
window clipped at the tower's ends. `torch.nn.LocalResponseNorm` divides alpha by size and has no towers.

`lrn_plain` is the formula in PyTorch, for every device and type; `cpu/lrn.py` computes it by a kernel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model import cuda
from alexnet.model.cpu import lrn as cpu


class LocalResponseNorm(nn.Module):
    """Local response normalisation over the channels of [B, C, H, W]; see the module for the formula."""

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0, groups: int = 2) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k, self.groups = size, alpha, beta, k, groups

    def forward(self, x: Tensor) -> Tensor:
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.groups)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}, groups={self.groups}"


def local_response_norm(
    x: Tensor, size: int, alpha: float, beta: float, k: float, groups: int, relu: bool = False
) -> Tensor:
    """Local response normalisation of [B, C, H, W], or with `relu` of max(x, 0), by the fastest implementation.

    Raises ValueError for an input of another shape, and when the channels do not divide into `groups` towers.
    """
    if x.dim() != 4:
        raise ValueError(f"Local response normalisation takes [B, C, H, W], not {list(x.shape)}.")
    if x.shape[1] % groups:
        raise ValueError(f"{x.shape[1]} channels do not divide into {groups} towers.")
    if cpu.takes(x, size, beta):
        return cpu.local_response_norm(x, size, alpha, k, groups, relu)
    if cuda.takes(x) and beta == 0.75 and size in cuda.NORM_SIZES:
        from alexnet.model.cuda import functions  # imports Triton

        return functions.norm_and_pool(x, x.shape[2:], (1, 1), groups, size, alpha, k, relu)
    return lrn_plain(x.relu() if relu else x, size, alpha, beta, k, groups)


torch.fx.wrap("local_response_norm")  # one node in a traced network


def lrn_plain(x: Tensor, size: int, alpha: float, beta: float, k: float, groups: int) -> Tensor:
    """The formula in plain operations for [B, C, H, W] of any floating type; computed at least in float32."""
    wide = x if x.dtype == torch.float64 else x.float()
    squares = wide.square().unflatten(1, (groups, -1))  # [B, groups, C / groups, H, W]
    per_tower = squares.shape[2]
    before = size // 2
    padded = F.pad(squares, (0, 0, 0, 0, before, size - 1 - before))
    total = padded[:, :, :per_tower]
    for shift in range(1, size):
        total = total + padded[:, :, shift : shift + per_tower]
    scale = (k + alpha * total).flatten(1, 2)  # [B, C, H, W]
    return (wide * scale**-beta).to(x.dtype)
