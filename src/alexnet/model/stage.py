"""ReLU, normalisation and overlapping pooling after conv1 and conv2 (section 3.5 of the paper), in one pass.

The original program normalises conv1's output before its ReLU, and has another stage between normalisation and pooling
after conv2: two of the three in one pass, then.

On the CPU, `cpu/stage.h` normalises three rows at a time into a buffer that stays in cache and pools
from there; the gradient recomputes what it needs from the convolution's output, the only thing kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as nn_module

from alexnet.model import pooling
from alexnet.model.cpu import kernels
from alexnet.model.cpu.operator import operator
from alexnet.model.lrn import MAX_SIZE, LocalResponseNorm, local_response_norm
from alexnet.model.pooling import MAX_KERNEL, MaxPool2d, empty_pooled

# `pool` is its kernel size and stride; groups, size, alpha and k are those of the normalisation.


@operator("alexnet::stage")
def _stage(
    x: Tensor, out_size: Sequence[int], pool: Sequence[int], groups: int, size: int, alpha: float, k: float, relu: bool
) -> tuple[Tensor, Tensor]:
    x = x.contiguous(memory_format=torch.channels_last)
    y, place = empty_pooled(x, *out_size)
    b, c, h, w = x.shape
    kernels.call(
        "stage", x.dtype, x, y, place, b, h, w, c, *out_size, *pool, groups, size // 2, relu, alpha, k
    )  # fmt: skip
    return y, place


@operator("alexnet::stage_gradient")
def _stage_gradient(
    x: Tensor, g: Tensor, place: Tensor, pool: Sequence[int], groups: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    g = g.contiguous(memory_format=torch.channels_last)
    dx = torch.empty_like(x)
    b, c, h, w = x.shape
    out_size = g.shape[2:]
    sizes = b, h, w, c, *out_size, *pool, groups, size // 2, relu
    kernels.call("stage_gradient", x.dtype, x, g, place, dx, *sizes, alpha, k)
    return dx


@_stage.register_fake
def _(
    x: Tensor, out_size: Sequence[int], pool: Sequence[int], groups: int, size: int, alpha: float, k: float, relu: bool
) -> tuple[Tensor, Tensor]:
    return empty_pooled(x, *out_size)


@_stage_gradient.register_fake
def _(
    x: Tensor, g: Tensor, place: Tensor, pool: Sequence[int], groups: int, size: int, alpha: float, k: float, relu: bool
) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _keep(ctx, inputs, output) -> None:
    x, _, *ctx.settings = inputs
    ctx.set_materialize_grads(False)  # the places of the maxima have none
    ctx.save_for_backward(x, output[1])


def _backward(ctx, g: Tensor, _: Tensor):
    x, place = ctx.saved_tensors
    return _stage_gradient(x, g, place, *ctx.settings), *[None] * 7


_stage.register_autograd(_backward, setup_context=_keep)


def relu_norm_pool(x: Tensor, relu: nn.Module, norm: nn.Module, pool: nn.Module) -> Tensor:
    """pool(norm(relu(x))) of a convolution's output [B, C, H, W], in one pass where nobody looks between."""
    stages = [relu, norm, pool]
    while stages:
        x, count = together(x, stages)
        stages = stages[count:]
    return x


def together(x: Tensor, stages: Sequence[nn.Module]) -> tuple[Tensor, int]:
    """What the first of `stages` make of x [B, C, H, W], and how many of them that is: more than one where they are a
    ReLU, a normalisation and a pooling, or two of these, that can be one pass, and nobody looks between."""
    count = fusible(x, stages)
    if count == 1:
        return stages[0](x), 1
    rectified = isinstance(stages[0], nn.ReLU)
    norm, *pool = stages[int(rectified) : count]
    assert isinstance(norm, LocalResponseNorm)
    if not pool:
        return local_response_norm(x, norm.size, norm.alpha, norm.beta, norm.k, norm.groups, relu=True), count
    (window,) = pool
    assert isinstance(window, MaxPool2d)
    sides = window.kernel_size, window.stride
    out_size = [pooling.output_size(n, *sides, window.ceil_mode) for n in x.shape[2:]]
    return _stage(x, out_size, sides, norm.groups, norm.size, norm.alpha, norm.k, rectified)[0], count


PATTERNS = (nn.ReLU, LocalResponseNorm, MaxPool2d), (LocalResponseNorm, MaxPool2d), (nn.ReLU, LocalResponseNorm)


def fusible(x: Tensor, stages: Sequence[nn.Module]) -> int:
    """How many of the first of `stages` can be one pass over `x`; 1 where there are no such."""
    if not isinstance(x, Tensor) or x.dim() != 4 or not kernels.usable(x):
        return 1
    for pattern in PATTERNS:
        chosen = stages[: len(pattern)]
        if tuple(type(stage) for stage in chosen) == pattern and all(_fits(x, stage) for stage in chosen):
            return len(pattern)
    return 1


def _fits(x: Tensor, stage: nn.Module) -> bool:
    if watched(stage):
        return False
    if isinstance(stage, LocalResponseNorm):
        sized = stage.size % 2 == 1 and stage.size <= MAX_SIZE
        return stage.beta == 0.75 and sized and x.shape[1] % stage.groups == 0
    return not isinstance(stage, MaxPool2d) or stage.kernel_size <= min(MAX_KERNEL, *x.shape[2:])


_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def watched(stage: nn.Module) -> bool:
    """Whether a hook wants to see what goes in or out of this stage."""
    return any(getattr(stage, f"_{name}") or getattr(nn_module, f"_global_{name}") for name in _HOOKS)
