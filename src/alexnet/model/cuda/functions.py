"""The passes of `stage` and `spatial_norm` as functions with gradients, for networks outside a plan.

Maps are [B, C, H, W]; results are in channels-last memory.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alexnet.model.cuda import spatial_norm as spatial
from alexnet.model.cuda import stage
from alexnet.model.cuda.stage import Stages


def norm_and_pool(
    x: Tensor, out_size: Sequence[int], pool: Sequence[int], groups: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    """Normalisation of x, or with `relu` of max(x, 0), within `groups` towers, and max pooling to `out_size`.

    `pool` is (kernel size, stride); (1, 1) for none. The other settings are those of the normalisation.
    """
    stages = Stages("first" if relu else "", size // 2, alpha, k, *pool)
    return _Pass.apply(x, tuple(out_size), groups, stages)  # type: ignore[return-value]


def spatial_norm(x: Tensor, size: int, alpha: float) -> Tensor:
    """Normalisation within each map with beta 3/4."""
    return _SpatialNorm.apply(x, size, alpha)  # type: ignore[return-value]


def _maps(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H, W, C], contiguous."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).contiguous()


class _Pass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, out_size: tuple[int, int], groups: int, stages: Stages) -> Tensor:
        x = _maps(x)
        batch, _, _, channels = x.shape
        y = torch.empty(batch, *out_size, channels, dtype=x.dtype, device=x.device)
        shape = groups, batch, *out_size, channels // groups
        index = torch.empty(shape, dtype=torch.uint8, device=x.device) if stages.window > 1 else None
        stage.forward(x.chunk(groups, 3), None, y.chunk(groups, 3), index, stages)
        ctx.save_for_backward(x, index)
        ctx.groups, ctx.stages = groups, stages
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        x, index = ctx.saved_tensors
        g, dx, groups = _maps(g).to(x.dtype), torch.empty_like(x), ctx.groups
        stage.backward(x.chunk(groups, 3), None, g.chunk(groups, 3), index, dx.chunk(groups, 3), None, ctx.stages)
        return dx.permute(0, 3, 1, 2), None, None, None


class _SpatialNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float) -> Tensor:
        x = _maps(x)
        y = torch.empty_like(x)
        spatial.forward(x, y, size, alpha)
        ctx.save_for_backward(x)
        ctx.size, ctx.alpha = size, alpha
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        spatial.backward(x, _maps(g).to(x.dtype), dx, ctx.size, ctx.alpha)
        return dx.permute(0, 3, 1, 2), None, None
