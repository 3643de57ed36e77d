"""Bias, ReLU, local response normalisation and max pooling in one pass over memory each way (sections 3.1, 3.3, 3.4).

    v = x + bias;  r = max(v, 0);  n_i = r_i (k + alpha sum_j r_j^2)^(-3/4);  y = max of n over the window

j runs over the `2 half + 1` channels around i in the same tower. Each step can be left out, and the ReLU can come last
(original program). The gradient recomputes everything from x and the index of each maximum, one byte.

Sums over neighbouring channels are products with a band matrix, on the tensor cores: for `C` channels of a tile,
sums = squares[pixels, C] @ band[C, C], band_ij = |i - j| <= half. So nothing is exchanged between threads.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

CHANNELS = 128
"""Most channels of a tile. A tower of more is cut, with the channels on both sides that the sums reach."""
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


def forward(x: Sequence[Tensor], bias: Tensor | None, y: Sequence[Tensor], index: Tensor | None, stages: Stages) -> None:
    """Compute `y` from `x`, one tensor [B, H, W, C] per tower each, of any strides; channels of x are adjacent.

    `bias` float32 [T C]; `index` uint8 [T, B, H', W', C] receives the maxima's, None where no gradient is wanted.
    """
    batch, height, width, channels = x[0].shape
    _, out_height, out_width, _ = y[0].shape
    assert x[0].stride(3) == 1 and y[0].shape == (batch, out_height, out_width, channels) and len(x) == len(y)
    assert bias is None or (bias.shape == (len(x) * channels,) and bias.dtype == torch.float32)
    assert index is None or (index.shape == (len(x), *y[0].shape) and index.is_contiguous())
    tile, used = _channel_tile(channels, stages.half)
    pixels = batch * out_height * out_width
    rows = _rows(tile)
    grid = (triton.cdiv(pixels, rows), len(x), triton.cdiv(channels, used))
    _forward[grid](
        *(x[0], _tower_stride(x), *x[0].stride()[:3]),
        *(y[0], _tower_stride(y), *y[0].stride()),
        *(x[0] if bias is None else bias, x[0] if index is None else index),
        *(pixels, height, width, out_height, out_width, channels, used, stages.alpha, stages.k),
        *(bias is not None, index is not None, stages.relu, stages.half, stages.window, stages.stride),
        *(_precision(x[0]), rows, tile),
        num_warps=4,
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
    rows = _rows(tile)
    programs = triton.cdiv(pixels, rows) if bias_parts is None else len(bias_parts)
    grid = (programs, len(x), triton.cdiv(channels, used))
    _backward[grid](
        *(x[0], _tower_stride(x), *x[0].stride()[:3]),
        *(g[0], _tower_stride(g), *g[0].stride()),
        *(dx[0], _tower_stride(dx), *dx[0].stride()),
        *(x[0] if bias is None else bias, x[0] if index is None else index, x[0] if bias_parts is None else bias_parts),
        *(pixels, height, width, out_height, out_width, channels, used, stages.alpha, stages.k, scale),
        *(bias is not None, index is not None, bias_parts is not None),
        *(stages.relu, stages.half, stages.window, stages.stride, _precision(x[0]), rows, tile),
        num_warps=4,
    )


def bias_parts(x: Sequence[Tensor]) -> Tensor:
    """Room for `backward`'s partial sums."""
    batch, height, width, channels = x[0].shape
    rows = _rows(_channel_tile(channels, 0)[0])
    programs = min(MAX_PARTS, triton.cdiv(batch * height * width, rows))
    return torch.empty(programs, len(x) * channels, dtype=torch.float32, device=x[0].device)


MAX_PARTS = 528
"""Four programs on each of an H100's 132 multiprocessors."""


def _channel_tile(channels: int, reach: int) -> tuple[int, int]:
    """Channels of a tile, a power of two, and how many of them it computes: `reach` fewer on each side where cut."""
    tile = max(16, triton.next_power_of_2(channels))
    return (tile, channels) if tile <= CHANNELS else (CHANNELS, CHANNELS - 2 * reach)


def _rows(tile: int) -> int:
    """Pixels of a tile."""
    return max(16, 2048 // tile)


def _precision(x: Tensor) -> str:
    """Number format of the band product: of float32 activations float32, of shorter ones TensorFloat-32."""
    return "ieee" if x.dtype == torch.float32 else "tf32"


def _tower_stride(towers: Sequence[Tensor]) -> int:
    """Elements from the first tower's tensor to the second's, which need not be one tensor."""
    if len(towers) == 1:
        return 0
    first, second = towers
    assert first.stride() == second.stride() and first.shape == second.shape
    return (second.data_ptr() - first.data_ptr()) // first.element_size()


@triton.jit
def _band(half: tl.constexpr, tile: tl.constexpr):
    """[tile, tile]: 1 where the row's and the column's channel are at most `half` apart."""
    i = tl.arange(0, tile)
    apart = i[:, None] - i[None, :]
    return tl.where((apart <= half) & (apart >= -half), 1.0, 0.0)


@triton.jit
def _forward(
    x_at, x_tower, x_image, x_line, x_pixel,
    y_at, y_tower, y_image, y_line, y_pixel, y_channel,
    bias_at, index_at,
    pixels, height, width, out_height, out_width, channels, used, alpha, k,
    has_bias: tl.constexpr, has_index: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    tower = tl.program_id(1).to(tl.int64)
    first = tl.program_id(2) * used
    halo = tl.where(used < channels, half, 0)
    channel = first - halo + tl.arange(0, tile)
    there = (channel >= 0) & (channel < channels)
    pixel = tl.program_id(0) * rows + tl.arange(0, rows)
    column = pixel % out_width
    line = pixel // out_width % out_height
    image = (pixel // (out_width * out_height)).to(tl.int64)

    x_at += tower * x_tower + image[:, None] * x_image + channel[None, :]
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    best = tl.full((rows, tile), float("-inf"), tl.float32)
    which = tl.full((rows, tile), 0, tl.int32)
    for dy in tl.static_range(window):
        for dx in tl.static_range(window):
            iy, ix = line * stride + dy, column * stride + dx
            inside = ((pixel < pixels) & (iy < height) & (ix < width))[:, None] & there[None, :]
            v = tl.load(x_at + iy[:, None] * x_line + ix[:, None] * x_pixel, mask=inside, other=0.0).to(tl.float32)
            if has_bias:
                v = tl.where(inside, v + bias[None, :], 0.0)
            if relu == "first":
                v = tl.where(v < 0, 0.0, v)
            if half > 0:
                s = k + alpha * tl.dot(v * v, _band(half, tile), input_precision=precision)
                root = tl.rsqrt(s)
                v = v * root * tl.sqrt(root)
            if window > 1:
                larger = inside & ((v > best) | (v != v))
                best = tl.where(larger, v, best)
                which = tl.where(larger, dy * window + dx, which)
            else:
                best = v
    if relu == "last":
        which = tl.where(best <= 0, NOTHING, which)
        best = tl.where(best < 0, 0.0, best)
    computed = (pixel < pixels)[:, None] & (there & (channel >= first) & (channel < first + used))[None, :]
    y_at += tower * y_tower + image[:, None] * y_image + line[:, None] * y_line + column[:, None] * y_pixel
    tl.store(y_at + channel[None, :] * y_channel, best.to(y_at.dtype.element_ty), mask=computed)
    if has_index:
        index_at += (tower * pixels + pixel[:, None]) * channels + channel[None, :]
        tl.store(index_at, which.to(tl.uint8), mask=computed)


@triton.jit
def _backward(
    x_at, x_tower, x_image, x_line, x_pixel,
    g_at, g_tower, g_image, g_line, g_pixel, g_channel,
    dx_at, dx_tower, dx_image, dx_line, dx_pixel, dx_channel,
    bias_at, index_at, parts_at,
    pixels, height, width, out_height, out_width, channels, used, alpha, k, scale,
    has_bias: tl.constexpr, has_index: tl.constexpr, has_parts: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    tower = tl.program_id(1).to(tl.int64)
    first = tl.program_id(2) * used
    halo = tl.where(used < channels, 2 * half, 0)
    channel = first - halo + tl.arange(0, tile)
    there = (channel >= 0) & (channel < channels)
    mine = there & (channel >= first) & (channel < first + used)
    out_pixels = pixels // (height * width) * out_height * out_width
    x_at += tower * x_tower + channel[None, :]
    g_at += tower * g_tower + channel[None, :] * g_channel
    dx_at += tower * dx_tower + channel[None, :] * dx_channel
    index_at += tower * out_pixels * channels + channel[None, :]
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    if has_parts:
        sums = tl.zeros((tile,), tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(pixels, rows), tl.num_programs(0)):
        pixel = block * rows + tl.arange(0, rows)
        column = pixel % width
        line = pixel // width % height
        image = (pixel // (width * height)).to(tl.int64)
        inside = (pixel < pixels)[:, None] & there[None, :]
        at = image[:, None] * x_image + line[:, None] * x_line + column[:, None] * x_pixel
        v = tl.load(x_at + at, mask=inside, other=0.0).to(tl.float32)
        if has_bias:
            v = tl.where(inside, v + bias[None, :], 0.0)
        r = v
        if relu == "first":
            r = tl.where(v < 0, 0.0, v)
        g = tl.zeros((rows, tile), tl.float32)
        for wy in tl.static_range((window + stride - 1) // stride):
            for wx in tl.static_range((window + stride - 1) // stride):
                oy, ox = line // stride - wy, column // stride - wx
                dy, dx = line - oy * stride, column - ox * stride
                seen = (oy >= 0) & (oy < out_height) & (ox >= 0) & (ox < out_width) & (dy < window) & (dx < window)
                seen = inside & seen[:, None]
                at = image[:, None] * g_image + oy[:, None] * g_line + ox[:, None] * g_pixel
                part = tl.load(g_at + at, mask=seen, other=0.0).to(tl.float32)
                if has_index:
                    out_pixel = (image * out_height + oy) * out_width + ox
                    which = tl.load(index_at + out_pixel[:, None] * channels, mask=seen, other=0).to(tl.int32)
                    part = tl.where(which == (dy * window + dx)[:, None], part, 0.0)
                g += part
        g *= scale
        if half > 0:
            band = _band(half, tile)
            s = k + alpha * tl.dot(r * r, band, input_precision=precision)
            root = tl.rsqrt(s)
            power = root * tl.sqrt(root)
            through = tl.dot(g * r * power / s, band, input_precision=precision)
            g = g * power - 1.5 * alpha * r * through
        if relu == "first":
            g = tl.where(v > 0, g, 0.0)
        computed = (pixel < pixels)[:, None] & mine[None, :]
        at = image[:, None] * dx_image + line[:, None] * dx_line + column[:, None] * dx_pixel
        tl.store(dx_at + at, g.to(dx_at.dtype.element_ty), mask=computed)
        if has_parts:
            sums += tl.sum(tl.where(computed, g, 0.0), 0)
    if has_parts:
        programs = tl.num_programs(1)
        at = tl.program_id(0) * programs * channels + tower * channels + channel
        tl.store(parts_at + at, sums, mask=mine)
