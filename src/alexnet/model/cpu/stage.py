"""ReLU, local response normalisation and max pooling on a CPU in one pass, by the kernels in `stage.h`.

They normalise three rows at a time into a buffer that stays in cache and pool from there. The gradient recomputes what
it needs from the input, the only activation that is kept. Results are in channels-last memory.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from alexnet.model.cpu import kernels, lrn, pooling
from alexnet.model.cpu.operator import Integers, operator
from alexnet.model.cpu.pooling import empty_pooled


def takes(x: Tensor, size: int, beta: float, pool: tuple[int, int] | None) -> bool:
    """Whether one kernel normalises x [B, C, H, W] with windows of `size` channels and pools with `pool` = (kernel
    size, stride); None: whether one applies ReLU and normalises, without pooling."""
    return lrn.takes(x, size, beta) and (pool is None or pooling.takes(x, *pool))


def norm_and_pool(
    x: Tensor, out_size: Sequence[int], pool: Sequence[int], groups: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    """Normalisation of x [B, C, H, W], or with `relu` of max(x, 0), and max pooling to `out_size` = (height, width).

    `pool` is (kernel size, stride), the other settings are those of the normalisation. Only where `takes` says so.
    """
    return _stage(x, out_size, pool, groups, size, alpha, k, relu)[0]


@operator("alexnet::stage")
def _stage(
    x: Tensor, out_size: Integers, pool: Integers, groups: int, size: int, alpha: float, k: float, relu: bool
) -> tuple[Tensor, Tensor]:
    """The maxima, and the index of each within its window."""
    x = x.contiguous(memory_format=torch.channels_last)
    y, index = empty_pooled(x, *out_size)
    b, c, h, w = x.shape
    sizes = b, h, w, c, *out_size, *pool, groups, size // 2, relu
    kernels.call("stage", x.dtype, x, y, index, *sizes, alpha, k)
    return y, index


@operator("alexnet::stage_gradient")
def _stage_gradient(
    x: Tensor, g: Tensor, index: Tensor, pool: Integers, groups: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    g = g.contiguous(memory_format=torch.channels_last)
    dx = torch.empty_like(x)
    b, c, h, w = x.shape
    out_size = g.shape[2:]
    sizes = b, h, w, c, *out_size, *pool, groups, size // 2, relu
    kernels.call("stage_gradient", x.dtype, x, g, index, dx, *sizes, alpha, k)
    return dx


@_stage.register_fake
def _(
    x: Tensor, out_size: Integers, pool: Integers, groups: int, size: int, alpha: float, k: float, relu: bool
) -> tuple[Tensor, Tensor]:
    return empty_pooled(x, *out_size)


@_stage_gradient.register_fake
def _(
    x: Tensor, g: Tensor, index: Tensor, pool: Integers, groups: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _save(ctx, inputs, output) -> None:
    x, _, *ctx.settings = inputs
    ctx.set_materialize_grads(False)  # an index has no gradient
    ctx.save_for_backward(x, output[1])


def _backward(ctx, g: Tensor, _: Tensor):
    x, index = ctx.saved_tensors
    return _stage_gradient(x, g, index, *ctx.settings), *[None] * 7


_stage.register_autograd(_backward, setup_context=_save)
