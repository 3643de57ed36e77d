"""Bias, ReLU, local response normalisation and max pooling in one pass over memory each way (sections 3.1, 3.3, 3.4).

    v = x + bias;  r = max(v, 0);  n_i = r_i (k + alpha sum_j r_j^2)^(-3/4);  y = max of n over the window

j runs over the `2 half + 1` channels around i in the same tower. Each step can be left out, and the ReLU can come last
(original program). The gradient recomputes everything from x and the index of each maximum.

Sums over neighbouring channels are multiplications by a band matrix, on the tensor cores: for `C` channels of a tile,
sums = squares[pixels, C] @ band[C, C], band_ij = |i - j| <= half. So nothing is exchanged between threads.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from alexnet.model.cuda import POOL, stage_kernels

CHANNELS = 128
"""Most channels of a tile. A tower of more is cut, with the channels on both sides that the sums reach."""
FLOAT32_CHANNELS = 64
"""The same for normalisation in float32, whose band matrix must fit the 99 KiB of shared memory of an RTX 30 or 40."""


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

    `bias` float32 [T C]; `index` [T, B, H', W', C] of `index_dtype` receives that of each maximum; None where no
    gradient is wanted.
    """
    batch, height, width, channels = x[0].shape
    _, out_height, out_width, _ = y[0].shape
    assert x[0].stride(3) == 1 and y[0].shape == (batch, out_height, out_width, channels) and len(x) == len(y)
    assert bias is None or (bias.shape == (len(x) * channels,) and bias.dtype == torch.float32)
    assert index is None or (index.shape == (len(x), *y[0].shape) and index.is_contiguous())
    tile, used = _channel_tile(x[0], stages.half)
    pixels = batch * out_height * out_width
    rows, warps, unroll, programs = FORWARD[tile > 64]
    by_lines = stages.half > 0 and stages.window == stages.stride + 1
    kernel, grid = stage_kernels.forward, min(programs, triton.cdiv(pixels, rows))
    if by_lines:
        rows, warps, unroll = LINES[tile > 64]
        kernel, grid = (
            stage_kernels.forward_lines,
            triton.cdiv(batch * out_width, rows) * triton.cdiv(out_height, unroll),
        )
    kernel[grid, len(x), triton.cdiv(channels, used)](
        *(x[0], _tower_stride(x), y[0], _tower_stride(y)),
        *(x[0] if bias is None else bias, x[0] if index is None else index, _band(x[0], stages.half, tile)),
        *(pixels, stages.alpha, stages.k, *x[0].stride()[:3], *y[0].stride()),
        *(height, width, out_height, out_width, channels, used, bias is not None, index is not None),
        *(*stages[:2], stages.window, stages.stride, _precision(x[0]), unroll, rows, tile),
        num_warps=warps,
        num_stages=1,
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
    tile, used = _channel_tile(x[0], 2 * stages.half)
    patches = batch * triton.cdiv(height, stages.stride) * triton.cdiv(width, stages.stride)
    rows, warps, programs, registers = BACKWARD[tile > 64]
    programs = min(programs, triton.cdiv(patches, rows)) if bias_parts is None else len(bias_parts)
    grid = (programs, len(x), triton.cdiv(channels, used))
    stage_kernels.backward[grid](
        *(x[0], _tower_stride(x), g[0], _tower_stride(g), dx[0], _tower_stride(dx)),
        *(x[0] if bias is None else bias, x[0] if index is None else index, x[0] if bias_parts is None else bias_parts),
        *(_band(x[0], stages.half, tile), patches, stages.alpha, stages.k, scale),
        *(*x[0].stride()[:3], *g[0].stride(), *dx[0].stride()),
        *(height, width, out_height, out_width, channels, used),
        *(bias is not None, index is not None, bias_parts is not None),
        *(*stages[:2], stages.window, stages.stride, _precision(x[0]), rows, tile),
        num_warps=warps,
        num_stages=1,
        maxnreg=registers,
    )


def bias_parts(x: Sequence[Tensor]) -> Tensor:
    """Room for `backward`'s partial sums."""
    batch, height, width, channels = x[0].shape
    rows, _, most, _ = BACKWARD[_channel_tile(x[0], 0)[0] > 64]
    programs = min(most, triton.cdiv(batch * height * width, rows))
    return torch.empty(programs, len(x) * channels, dtype=torch.float32, device=x[0].device)


def index_dtype(x: Tensor) -> torch.dtype:
    """As wide as the activations, so that a thread that reads both reads the same elements of both."""
    return {1: torch.uint8, 2: torch.int16}.get(x.element_size(), torch.int32)


@functools.cache
def _bands(half: int, tile: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    i = torch.arange(tile, device=device)
    return ((i[:, None] - i).abs() <= half).to(dtype)


def _band(x: Tensor, half: int, tile: int) -> Tensor:
    """[tile, tile]: 1 where the row's and the column's channel are at most `half` apart."""
    return _bands(half, tile, torch.bfloat16 if _precision(x) == "bf16" else torch.float32, x.device) if half else x


FORWARD = (16, 4, 1, 1056), (16, 8, 1, 528)
"""Pixels of a tile, warps of a program, how often its inner loop is unrolled, and most programs: for tiles of up to 64
channels, and for larger ones."""

LINES = (16, 4, 5), (16, 8, 3)
"""Columns of a tile, warps of a program, and lines that it computes one after the other."""

BACKWARD = (16, 4, 1056, None), (16, 8, 528, 128)
"""Patches of a tile, warps of a program, most programs, and most registers of a thread: two programs per processor."""


def _channel_tile(x: Tensor, reach: int) -> tuple[int, int]:
    """Channels of a tile, a power of two, and how many of them it computes: `reach` fewer on each side where cut."""
    channels = x.shape[3]
    most = FLOAT32_CHANNELS if _precision(x) == "tf32x3" and 0 < reach <= FLOAT32_CHANNELS // 4 else CHANNELS
    tile = max(16, triton.next_power_of_2(channels))
    return (tile, channels) if tile <= most else (most, most - 2 * reach)


def _precision(x: Tensor) -> str:
    """Number format of the band matrix: bfloat16, and for float32 activations three terms in TensorFloat-32."""
    return "tf32x3" if x.dtype == torch.float32 or triton.knobs.runtime.interpret else "bf16"


def _tower_stride(towers: Sequence[Tensor]) -> int:
    """Elements from the first tower's tensor to the second's, which need not be one tensor."""
    if len(towers) == 1:
        return 0
    first, second = towers
    assert first.stride() == second.stride() and first.shape == second.shape
    return (second.data_ptr() - first.data_ptr()) // first.element_size()
