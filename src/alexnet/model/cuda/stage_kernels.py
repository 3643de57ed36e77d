"""The Triton kernels of `stage`, which says what they compute.

Sizes and strides are constants of a kernel, so that it is compiled for each shape: divisions by them are cheap, and
loads are as wide as they can be. A program computes tiles of `rows` pixels and `tile` channels.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import triton
import triton.language as tl

NAN = tl.constexpr(tl.PropagateNan.ALL)
NOTHING = tl.constexpr(255)
"""The index of a maximum that gets no gradient, because the ReLU after pooling is 0."""


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
def _normalised(v, band, alpha, k, precision: tl.constexpr):
    """v (k + alpha sum v^2)^(-3/4), over neighbouring channels."""
    root = tl.rsqrt(k + alpha * _sums(v * v, band, precision))
    return v * root * tl.sqrt(root)


@triton.jit
def forward(
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
                v = _normalised(v, band, alpha, k, precision)
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
        v = _normalised(v, band, alpha, k, precision)
        larger = inside & ((v > best) | (v != v))
        best = tl.where(larger, v, best)
        which = tl.where(larger, dx, which)
    return best, which


@triton.jit
def forward_lines(
    x_at, x_tower, y_at, y_tower, bias_at, index_at, band_at, pixels, alpha, k,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    y_image: tl.constexpr, y_line: tl.constexpr, y_pixel: tl.constexpr, y_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, used: tl.constexpr, has_bias: tl.constexpr, has_index: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, lines: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """`forward` with normalisation for windows that share a line with the next one: it is computed once for both."""
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
def backward(
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
