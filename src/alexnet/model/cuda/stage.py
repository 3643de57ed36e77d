"""Bias, ReLU, local response normalisation and max pooling in one pass over memory each way (sections 3.1, 3.3, 3.4).

    v = x + bias;  r = max(v, 0);  n_i = r_i (k + alpha sum_j r_j^2)^(-3/4);  y = max of n over the window

j runs over the `2 half + 1` channels around i in the same tower. Each step can be left out, and the ReLU can come last
(original program). The gradient recomputes everything from x and the index of each maximum.

Sums over neighbouring channels are products with a band matrix, on the tensor cores: for `C` channels of a tile,
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
import triton.language as tl
from torch import Tensor

CHANNELS = 128
"""Most channels of a tile. A tower of more is cut, with the channels on both sides that the sums reach."""
NAN = tl.constexpr(tl.PropagateNan.ALL)
NOTHING = tl.constexpr(255)
"""The index of a maximum that gets no gradient, because the ReLU after pooling is 0."""


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
    tile, used = _channel_tile(channels, stages.half)
    pixels = batch * out_height * out_width
    rows, warps, unroll, programs = FORWARD[tile > 64]
    by_lines = stages.half > 0 and stages.window == stages.stride + 1
    kernel, grid = _forward, min(programs, triton.cdiv(pixels, rows))
    if by_lines:
        rows, warps, unroll = LINES[tile > 64]
        kernel, grid = _forward_lines, batch * triton.cdiv(out_width, rows) * triton.cdiv(out_height, unroll)
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
    tile, used = _channel_tile(channels, 2 * stages.half)
    pixels = batch * height * width
    rows, warps, unroll, programs = BACKWARD[tile > 64]
    programs = min(programs, triton.cdiv(pixels, rows)) if bias_parts is None else len(bias_parts)
    grid = (programs, len(x), triton.cdiv(channels, used))
    _backward[grid](
        *(x[0], _tower_stride(x), g[0], _tower_stride(g), dx[0], _tower_stride(dx)),
        *(x[0] if bias is None else bias, x[0] if index is None else index, x[0] if bias_parts is None else bias_parts),
        *(_band(x[0], stages.half, tile), pixels, stages.alpha, stages.k, scale),
        *(*x[0].stride()[:3], *g[0].stride(), *dx[0].stride()),
        *(height, width, out_height, out_width, channels, used),
        *(bias is not None, index is not None, bias_parts is not None),
        *(*stages[:2], stages.window, stages.stride, _precision(x[0]), unroll, rows, tile),
        num_warps=warps,
        num_stages=1,
    )


def bias_parts(x: Sequence[Tensor]) -> Tensor:
    """Room for `backward`'s partial sums."""
    batch, height, width, channels = x[0].shape
    rows, _, _, most = BACKWARD[_channel_tile(channels, 0)[0] > 64]
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


FORWARD, BACKWARD = ((16, 4, 1, 1056), (16, 8, 1, 528)), ((16, 4, 4, 1056), (16, 8, 4, 528))
"""Pixels of a tile, warps of a program, how often its inner loop is unrolled, and most programs: for tiles of up to 64
channels, and for larger ones."""


LINES = (16, 4, 7), (16, 8, 4)
"""Columns of a tile, warps of a program, and lines that it computes one after the other."""


def _channel_tile(channels: int, reach: int) -> tuple[int, int]:
    """Channels of a tile, a power of two, and how many of them it computes: `reach` fewer on each side where cut."""
    tile = max(16, triton.next_power_of_2(channels))
    return (tile, channels) if tile <= CHANNELS else (CHANNELS, CHANNELS - 2 * reach)


def _precision(x: Tensor) -> str:
    """Number format of the band product: of float32 activations three TensorFloat-32 products, of shorter ones one."""
    return "tf32x3" if x.dtype == torch.float32 or triton.knobs.runtime.interpret else "bf16"


def _tower_stride(towers: Sequence[Tensor]) -> int:
    """Elements from the first tower's tensor to the second's, which need not be one tensor."""
    if len(towers) == 1:
        return 0
    first, second = towers
    assert first.stride() == second.stride() and first.shape == second.shape
    return (second.data_ptr() - first.data_ptr()) // first.element_size()


@triton.jit
def _load_band(band_at, tile: tl.constexpr):
    i = tl.arange(0, tile)
    return tl.load(band_at + i[:, None] * tile + i[None, :])


@triton.jit
def _sums(x, band, precision: tl.constexpr):
    """x @ band, over neighbouring channels."""
    if precision == "bf16":
        sums = tl.dot(x.to(tl.bfloat16), band)
    else:
        sums = tl.dot(x, band, input_precision=precision)
    return sums


@triton.jit
def _forward(
    x_at, x_tower, y_at, y_tower, bias_at, index_at, band_at, pixels, alpha, k,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    y_image: tl.constexpr, y_line: tl.constexpr, y_pixel: tl.constexpr, y_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, used: tl.constexpr, has_bias: tl.constexpr, has_index: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, unroll: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    tower = tl.program_id(1).to(tl.int64)
    x_at += tower * x_tower
    y_at += tower * y_tower
    index_at += tower * pixels * channels
    first = tl.program_id(2) * used
    channel = first + tl.arange(0, tile)
    if used < channels:
        channel -= half
    there = (channel >= 0) & (channel < channels)
    mine = there & (channel >= first) & (channel < first + used)
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    if half > 0:
        band = _load_band(band_at, tile)
    for block in range(tl.program_id(0), tl.cdiv(pixels, rows), tl.num_programs(0)):
        pixel = block * rows + tl.arange(0, rows)
        column = pixel % out_width
        line = pixel // out_width % out_height
        image = pixel // (out_width * out_height)
        best = tl.full((rows, tile), float("-inf"), tl.float32)
        which = tl.full((rows, tile), 0, tl.int32)
        for at in tl.range(window * window, loop_unroll_factor=unroll):
            iy, ix = line * stride + at // window, column * stride + at % window
            inside = ((pixel < pixels) & (iy < height) & (ix < width))[:, None] & there[None, :]
            offset = image * x_image + iy * x_line + ix * x_pixel
            v = tl.load(x_at + (offset[:, None] + channel[None, :]), mask=inside, other=0.0).to(tl.float32)
            if has_bias:
                v = tl.where(inside, v + bias[None, :], 0.0)
            if relu == "first":
                v = tl.maximum(v, 0.0, propagate_nan=NAN)
            if half > 0:
                s = k + alpha * _sums(v * v, band, precision)
                root = tl.rsqrt(s)
                v = v * root * tl.sqrt(root)
            if window > 1:
                v = tl.where(inside, v, float("-inf"))
                which = tl.where(v > best, at, which)
                best = tl.maximum(best, v, propagate_nan=NAN)
            else:
                best = v
        if relu == "last":
            which = tl.where(best <= 0, NOTHING, which)
            best = tl.where(best < 0, 0.0, best)
        computed = (pixel < pixels)[:, None] & mine[None, :]
        offset = image * y_image + line * y_line + column * y_pixel
        at_y = y_at + (offset[:, None] + channel[None, :] * y_channel)
        tl.store(at_y, best.to(y_at.dtype.element_ty), mask=computed)
        if has_index:
            at_index = index_at + ((pixel * channels)[:, None] + channel[None, :])
            tl.store(at_index, which.to(index_at.dtype.element_ty), mask=computed)


@triton.jit
def _line(
    x_at, bias, band, alpha, k, image, iy, first_x, in_row, there, height: tl.constexpr, width: tl.constexpr,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr, channel,
    has_bias: tl.constexpr, relu: tl.constexpr, window: tl.constexpr, precision: tl.constexpr,
):  # fmt: skip
    """The largest normalised value of `window` pixels of a line, from `first_x` on, and which of them it is."""
    best = tl.full((first_x.shape[0], channel.shape[0]), float("-inf"), tl.float32)
    which = tl.full((first_x.shape[0], channel.shape[0]), 0, tl.int32)
    for dx in tl.range(window, loop_unroll_factor=1):
        ix = first_x + dx
        inside = (in_row & (iy < height) & (ix < width))[:, None] & there[None, :]
        offset = image * x_image + iy * x_line + ix * x_pixel
        v = tl.load(x_at + (offset[:, None] + channel[None, :]), mask=inside, other=0.0).to(tl.float32)
        if has_bias:
            v = tl.where(inside, v + bias[None, :], 0.0)
        if relu == "first":
            v = tl.maximum(v, 0.0, propagate_nan=NAN)
        s = k + alpha * _sums(v * v, band, precision)
        root = tl.rsqrt(s)
        v = v * root * tl.sqrt(root)
        larger = inside & ((v > best) | (v != v))
        best = tl.where(larger, v, best)
        which = tl.where(larger, dx, which)
    return best, which


@triton.jit
def _forward_lines(
    x_at, x_tower, y_at, y_tower, bias_at, index_at, band_at, pixels, alpha, k,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    y_image: tl.constexpr, y_line: tl.constexpr, y_pixel: tl.constexpr, y_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, used: tl.constexpr, has_bias: tl.constexpr, has_index: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, lines: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """`_forward` with normalisation for windows that share a line with the next one: it is computed once for both."""
    tower = tl.program_id(1).to(tl.int64)
    x_at += tower * x_tower
    y_at += tower * y_tower
    index_at += tower * pixels * channels
    first = tl.program_id(2) * used
    channel = first + tl.arange(0, tile)
    if used < channels:
        channel -= half
    there = (channel >= 0) & (channel < channels)
    mine = there & (channel >= first) & (channel < first + used)
    bias = channel.to(tl.float32)
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    band = _load_band(band_at, tile)
    across: tl.constexpr = (out_width + rows - 1) // rows
    down: tl.constexpr = (out_height + lines - 1) // lines
    image = tl.program_id(0) // (across * down)
    column = tl.program_id(0) % across * rows + tl.arange(0, rows)
    line = tl.program_id(0) // across % down * lines
    in_row = column < out_width
    best, which = _line(
        x_at, bias, band, alpha, k, image, line * stride, column * stride, in_row, there, height, width,
        x_image, x_line, x_pixel, channel, has_bias, relu, window, precision,
    )  # fmt: skip
    for oy in range(line, min(line + lines, out_height)):
        shared, shared_which = best, which
        for dy in tl.range(1, window, loop_unroll_factor=1):
            shared, shared_which = _line(
                x_at, bias, band, alpha, k, image, oy * stride + dy, column * stride, in_row, there, height, width,
                x_image, x_line, x_pixel, channel, has_bias, relu, window, precision,
            )  # fmt: skip
            larger = (shared > best) | (shared != shared)
            best = tl.where(larger, shared, best)
            which = tl.where(larger, dy * window + shared_which, which)
        if relu == "last":
            which = tl.where(best <= 0, NOTHING, which)
            best = tl.where(best < 0, 0.0, best)
        computed = in_row[:, None] & mine[None, :]
        offset = image * y_image + oy * y_line + column * y_pixel
        at_y = y_at + (offset[:, None] + channel[None, :] * y_channel)
        tl.store(at_y, best.to(y_at.dtype.element_ty), mask=computed)
        if has_index:
            pixel = (image * out_height + oy) * out_width + column
            at_index = index_at + ((pixel * channels)[:, None] + channel[None, :])
            tl.store(at_index, which.to(index_at.dtype.element_ty), mask=computed)
        best, which = shared, shared_which


@triton.jit
def _backward(
    x_at, x_tower, g_at, g_tower, dx_at, dx_tower, bias_at, index_at, parts_at, band_at, pixels, alpha, k, scale,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    g_image: tl.constexpr, g_line: tl.constexpr, g_pixel: tl.constexpr, g_channel: tl.constexpr,
    dx_image: tl.constexpr, dx_line: tl.constexpr, dx_pixel: tl.constexpr, dx_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, used: tl.constexpr,
    has_bias: tl.constexpr, has_index: tl.constexpr, has_parts: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, unroll: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    tower = tl.program_id(1).to(tl.int64)
    x_at += tower * x_tower
    g_at += tower * g_tower
    dx_at += tower * dx_tower
    index_at += tower * (pixels // (height * width) * (out_height * out_width)) * channels
    first = tl.program_id(2) * used
    channel = first + tl.arange(0, tile)
    if used < channels:
        channel -= 2 * half
    there = (channel >= 0) & (channel < channels)
    mine = there & (channel >= first) & (channel < first + used)
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    if half > 0:
        band = _load_band(band_at, tile)
    if has_parts:
        sums = tl.zeros((rows, tile), tl.float32)
    across: tl.constexpr = (window + stride - 1) // stride
    for block in range(tl.program_id(0), tl.cdiv(pixels, rows), tl.num_programs(0)):
        pixel = block * rows + tl.arange(0, rows)
        column = pixel % width
        line = pixel // width % height
        image = pixel // (width * height)
        inside = (pixel < pixels)[:, None] & there[None, :]
        offset = image * x_image + line * x_line + column * x_pixel
        v = tl.load(x_at + (offset[:, None] + channel[None, :]), mask=inside, other=0.0).to(tl.float32)
        if has_bias:
            v = tl.where(inside, v + bias[None, :], 0.0)
        r = v
        if relu == "first":
            r = tl.maximum(v, 0.0, propagate_nan=NAN)
        g = tl.zeros((rows, tile), tl.float32)
        for each in tl.range(across * across, loop_unroll_factor=unroll):
            oy, ox = line // stride - each // across, column // stride - each % across
            dy, dx = line - oy * stride, column - ox * stride
            seen = (oy >= 0) & (oy < out_height) & (ox >= 0) & (ox < out_width) & (dy < window) & (dx < window)
            seen = inside & seen[:, None]
            offset = image * g_image + oy * g_line + ox * g_pixel
            at_g = g_at + (offset[:, None] + channel[None, :] * g_channel)
            part = tl.load(at_g, mask=seen, other=0.0).to(tl.float32)
            if has_index:
                offset = ((image * out_height + oy) * out_width + ox) * channels
                which = tl.load(index_at + (offset[:, None] + channel[None, :]), mask=seen, other=0)
                part = tl.where(which == (dy * window + dx)[:, None], part, 0.0)
            g += part
        g *= scale
        if half > 0:
            s = k + alpha * _sums(r * r, band, precision)
            root = tl.rsqrt(s)
            power = root * tl.sqrt(root)
            through = _sums(g * r * power * (root * root), band, precision)  # root^2 is 1 / s
            g = g * power - 1.5 * alpha * r * through
        if relu == "first":
            g = tl.where(v > 0, g, 0.0)
        computed = (pixel < pixels)[:, None] & mine[None, :]
        offset = image * dx_image + line * dx_line + column * dx_pixel
        at_dx = dx_at + (offset[:, None] + channel[None, :] * dx_channel)
        tl.store(at_dx, g.to(dx_at.dtype.element_ty), mask=computed)
        if has_parts:
            sums += tl.where(computed, g, 0.0)
    if has_parts:
        at = tl.program_id(0) * tl.num_programs(1) * channels + tower * channels + channel
        tl.store(parts_at + at, tl.sum(sums, 0), mask=mine)
