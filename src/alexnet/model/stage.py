"""ReLU, normalisation and overlapping pooling after conv1 and conv2 (section 3.5 of the paper), in one pass.

On the CPU, `native/kernels.cpp` normalises three rows at a time into a buffer that stays in cache and pools
from there; the gradient recomputes what it needs from the convolution's output, the only thing kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as nn_module

from alexnet.model import kernels, pooling
from alexnet.model.lrn import MAX_SIZE, LocalResponseNorm
from alexnet.model.pooling import MAX_KERNEL, MaxPool2d, empty_pooled

# `pool` is its kernel size and stride; groups, size, alpha and k are those of the normalisation.


@torch.library.custom_op("alexnet::stage", mutates_args=())
def _stage(
    x: Tensor, out_size: Sequence[int], pool: Sequence[int], groups: int, size: int, alpha: float, k: float
) -> tuple[Tensor, Tensor]:
    x = x.contiguous(memory_format=torch.channels_last)
    y, place = empty_pooled(x, *out_size)
    b, c, h, w = x.shape
    kernels.call(
        "stage", x.dtype, x, y, place, b, h, w, c, *out_size, *pool, groups, size // 2, alpha, k
    )  # fmt: skip
    return y, place


@torch.library.custom_op("alexnet::stage_gradient", mutates_args=())
def _stage_gradient(
    x: Tensor, g: Tensor, place: Tensor, pool: Sequence[int], groups: int, size: int, alpha: float, k: float
) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    g = g.contiguous(memory_format=torch.channels_last)
    dx = torch.empty_like(x)
    b, c, h, w = x.shape
    out_size = g.shape[2:]
    kernels.call("stage_gradient", x.dtype, x, g, place, dx, b, h, w, c, *out_size, *pool, groups, size // 2, alpha, k)
    return dx


@_stage.register_fake
def _(
    x: Tensor, out_size: Sequence[int], pool: Sequence[int], groups: int, size: int, alpha: float, k: float
) -> tuple[Tensor, Tensor]:
    return empty_pooled(x, *out_size)


@_stage_gradient.register_fake
def _(
    x: Tensor, g: Tensor, place: Tensor, pool: Sequence[int], groups: int, size: int, alpha: float, k: float
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _keep(ctx, inputs, output) -> None:
    x, _, *ctx.settings = inputs
    ctx.save_for_backward(x, output[1])


def _backward(ctx, g: Tensor, _: Tensor):
    x, place = ctx.saved_tensors
    return _stage_gradient(x, g, place, *ctx.settings), *[None] * 6


_stage.register_autograd(_backward, setup_context=_keep)


def relu_norm_pool(x: Tensor, relu: nn.ReLU, norm: LocalResponseNorm, pool: MaxPool2d) -> Tensor:
    """pool(norm(relu(x))) of a convolution's output [B, C, H, W], in one pass where nobody looks between."""
    if not (isinstance(x, Tensor) and fusible(x, relu, norm, pool)):
        return pool(norm(relu(x)))
    out_size = [pooling.output_size(n, pool.kernel_size, pool.stride, pool.ceil_mode) for n in x.shape[2:]]
    window = [pool.kernel_size, pool.stride]
    return _stage(x, out_size, window, norm.groups, norm.size, norm.alpha, norm.k)[0]


def fusible(x: Tensor, relu: nn.Module, norm: nn.Module, pool: nn.Module) -> bool:
    """Whether the three stages can be one pass over `x`."""
    return (
        type(relu) is nn.ReLU
        and type(norm) is LocalResponseNorm
        and type(pool) is MaxPool2d
        and norm.beta == 0.75
        and norm.size % 2 == 1
        and norm.size <= MAX_SIZE
        and x.dim() == 4
        and x.shape[1] % norm.groups == 0
        and pool.kernel_size <= min(MAX_KERNEL, *x.shape[2:])
        and kernels.usable(x)
        and not any(watched(stage) for stage in (relu, norm, pool))
    )


_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def watched(stage: nn.Module) -> bool:
    """Whether a hook wants to see what goes in or out of this stage."""
    return any(getattr(stage, f"_{name}") or getattr(nn_module, f"_global_{name}") for name in _HOOKS)
