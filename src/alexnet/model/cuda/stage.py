"""Bias, ReLU, local response normalisation and max pooling in one pass over memory each way (sections 3.1, 3.3, 3.4).

    v = x + bias;  r = max(v, 0);  n_i = r_i (k + alpha sum_j r_j^2)^(-3/4);  y = max of n over the window

j runs over the `2 half + 1` channels around i in the same tower. Each step can be left out, and the ReLU can come last
(original program). The gradient recomputes everything from x and the index of each maximum.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from alexnet.model.cuda import POOL, stage_kernels


class Stages(NamedTuple):
    """What a pass computes, in this order; the ReLU first or last."""

    relu: str = ""
    """"first", "last", or "" for none."""
    half: int = 0
    """Channels on each side in the sum of normalisation; 0: no normalisation."""
    alpha: float = 0.0
    k: float = 1.0
    window: int = 1
    """Height and width of pooling windows; 1: no pooling."""
    stride: int = 1


def forward(
    x: Sequence[Tensor], bias: Tensor | None, y: Sequence[Tensor], index: Tensor | None, stages: Stages
) -> None:
    """Compute `y` from `x`, one tensor [B, H, W, C] per tower each, of any strides; channels of x are adjacent.

    `bias` float32 [T C]; `index` uint8 [T, B, H', W', C] receives that of each maximum; None where no
    gradient is wanted.
    """
    batch, height, width, channels = x[0].shape
    _, out_height, out_width, _ = y[0].shape
    assert x[0].stride(3) == 1 and y[0].shape == (batch, out_height, out_width, channels) and len(x) == len(y)
    assert bias is None or (bias.shape == (len(x) * channels,) and bias.dtype == torch.float32)
    assert index is None or (index.shape == (len(x), *y[0].shape) and index.is_contiguous())
    across, used, blocks = _lanes(channels, stages.half)
    columns = batch * out_width
    programs = triton.cdiv(columns, LANES // across) * triton.cdiv(out_height, LINES)
    stage_kernels.forward[programs, len(x), blocks](
        *(x[0], _tower_stride(x), y[0], _tower_stride(y)),
        *(x[0] if bias is None else bias, x[0] if index is None else index, columns, stages.alpha, stages.k),
        *(*x[0].stride()[:3], *y[0].stride(), height, width, out_height, out_width),
        *(channels, across, used, bias is not None, index is not None),
        *(*stages[:2], stages.window, stages.stride, LINES, LANES),
        num_warps=1,
    )


def backward(
    x: Sequence[Tensor],
    bias: Tensor | None,
    g: Sequence[Tensor],
    index: Tensor | None,
    dx: Sequence[Tensor],
    bias_parts: Tensor | None,
    stages: Stages,
    scale: float = 1.0,
) -> None:
    """Compute `dx`, shaped as `x`, from `g`, the gradient of `y` times `scale`. `bias_parts` float32 [N, T C] receives
    N partial sums of the gradient of the bias, to be added."""
    batch, height, width, channels = x[0].shape
    _, out_height, out_width, _ = g[0].shape
    assert x[0].stride(3) == 1 and x[0].shape == dx[0].shape and len(x) == len(g) == len(dx)
    assert g[0].shape == (batch, out_height, out_width, channels)
    assert index is None or (index.shape == (len(x), *g[0].shape) and index.is_contiguous())
    assert bias_parts is None or (bias_parts.shape[1] == len(x) * channels and bias_parts.is_contiguous())
    assert max(stages.window, stages.stride) <= POOL
    across, used, blocks = _lanes(channels, stages.half)
    patches, programs = _patches(x, stages)
    assert bias_parts is None or len(bias_parts) == programs
    stage_kernels.backward[programs, len(x), blocks](
        *(x[0], _tower_stride(x), g[0], _tower_stride(g), dx[0], _tower_stride(dx)),
        *(x[0] if bias is None else bias, x[0] if index is None else index, x[0] if bias_parts is None else bias_parts),
        *(patches, stages.alpha, stages.k, scale, *x[0].stride()[:3], *g[0].stride(), *dx[0].stride()),
        *(height, width, out_height, out_width, channels, across, used),
        *(bias is not None, index is not None, bias_parts is not None),
        *(*stages[:2], stages.window, stages.stride, LANES),
        num_warps=1,
        maxnreg=REGISTERS,
    )


def bias_parts(x: Sequence[Tensor], stages: Stages) -> Tensor:
    """Room for the partial sums of `backward`."""
    _, programs = _patches(x, stages)
    return torch.empty(programs, len(x) * x[0].shape[3], dtype=torch.float32, device=x[0].device)


LANES, EACH = 32, stage_kernels.EACH.value
"""Threads of a program, and channels of a thread."""

LINES = 7
"""Lines of windows that a program of `forward` computes one after the other."""

PROGRAMS, REGISTERS = 2112, 128
"""Most programs of `backward` for a tower, and most registers of a thread: sixteen programs per processor."""


def _lanes(channels: int, half: int) -> tuple[int, int, int]:
    """Threads side by side for a pixel, how many of them compute, and how often to cover all channels of a tower."""
    assert 2 * half <= EACH
    groups = triton.cdiv(channels, EACH)
    used = groups if groups <= LANES else LANES - 2 if half else LANES
    return min(groups, LANES), used, triton.cdiv(groups, used)


def _patches(x: Sequence[Tensor], stages: Stages) -> tuple[int, int]:
    """Patches of a tower, and programs for them: of four tiles or more each, which leave one partial sum."""
    batch, height, width, channels = x[0].shape
    patches = batch * triton.cdiv(height, stages.stride) * triton.cdiv(width, stages.stride)
    side = LANES // _lanes(channels, stages.half)[0]
    return patches, min(PROGRAMS, triton.cdiv(patches, 4 * side))


def _tower_stride(towers: Sequence[Tensor]) -> int:
    """Elements from the first tower's tensor to the second's, which need not be one tensor."""
    if len(towers) == 1:
        return 0
    first, second = towers
    assert first.stride() == second.stride() and first.shape == second.shape
    return (second.data_ptr() - first.data_ptr()) // first.element_size()
