"""Normalisation within each map: the original program's "spatial norm", which the paper does not mention.

y = x * (1 + alpha / size**2 * sum x^2) ** -beta, over the `size` x `size` pixels around in the same map, the window
clipped at the map's edges. The original has it after the second response normalisation, with alpha 1e-3
(docs/specification.md, "The network").

`spatial_norm_plain` is the formula in PyTorch, for every device and type; `cpu/spatial_norm.py` computes it by a
kernel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model import cuda
from alexnet.model.cpu import spatial_norm as cpu


class SpatialNorm(nn.Module):
    """Normalisation of [B, C, H, W] within each map; see the module for the formula."""

    def __init__(self, size: int = 5, alpha: float = 1e-3, beta: float = 0.75) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        return spatial_norm(x, self.size, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}"


def spatial_norm(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """Normalisation of [B, C, H, W] within each map, by the fastest implementation.

    Raises ValueError for an input of another shape.
    """
    if x.dim() != 4:
        raise ValueError(f"Normalisation within maps takes [B, C, H, W], not {list(x.shape)}.")
    if cpu.takes(x, size, beta):
        return cpu.spatial_norm(x, size, alpha)
    if cuda.takes(x) and beta == 0.75 and size % 2 == 1:
        from alexnet.model.cuda import functions  # imports Triton

        return functions.spatial_norm(x, size, alpha)
    return spatial_norm_plain(x, size, alpha, beta)


torch.fx.wrap("spatial_norm")  # one node in a traced network


def spatial_norm_plain(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """The formula in plain operations for [B, C, H, W] of any floating type; computed at least in float32."""
    wide = x if x.dtype == torch.float64 else x.float()
    before = size // 2
    # An average that counts the zeros outside the map is the sum divided by the whole window.
    padded = F.pad(wide.square(), (before, size - 1 - before, before, size - 1 - before))
    scale = 1 + alpha * F.avg_pool2d(padded, size, stride=1)  # [B, C, H, W]
    return (wide * scale**-beta).to(x.dtype)
