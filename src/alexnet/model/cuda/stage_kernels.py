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
    """`forward` with normalisation for windows that share a line with the next one: it is computed once for both.

    A tile is the windows of one line in `rows` columns, counted through all images.
    """
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
    down: tl.constexpr = (out_height + lines - 1) // lines
    columns = pixels // out_height
    at = tl.program_id(0) // down * rows + tl.arange(0, rows)
    line = tl.program_id(0) % down * lines
    image, column, in_row = at // out_width, at % out_width, at < columns
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
def _from_windows(
    g_at, index_at, image, oy, ox, inside, there, channel, y: tl.constexpr, x: tl.constexpr,
    g_image: tl.constexpr, g_line: tl.constexpr, g_pixel: tl.constexpr, g_channel: tl.constexpr,
    out_height: tl.constexpr, out_width: tl.constexpr, channels: tl.constexpr,
    has_index: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
):  # fmt: skip
    """The gradient that pixel (y, x) of each patch gets from the windows whose maximum it is."""
    reach: tl.constexpr = (window + stride - 1) // stride
    g = tl.zeros((inside.shape[0], channel.shape[0]), tl.float32)
    for each in tl.static_range(reach * reach):
        if y + each // reach * stride < window and x + each % reach * stride < window:
            line, column = oy - each // reach, ox - each % reach
            seen = inside & (line >= 0) & (line < out_height) & (column >= 0) & (column < out_width)
            seen = seen[:, None] & there[None, :]
            offset = image * g_image + line * g_line + column * g_pixel
            at_g = g_at + (offset[:, None] + channel[None, :] * g_channel)
            part = tl.load(at_g, mask=seen, other=0.0).to(tl.float32)
            if has_index:
                offset = ((image * out_height + line) * out_width + column) * channels
                which = tl.load(index_at + (offset[:, None] + channel[None, :]), mask=seen, other=NOTHING)
                index = (y + each // reach * stride) * window + x + each % reach * stride
                part = tl.where(which == index, part, 0.0)
            g += part
    return g


@triton.jit
def backward(
    x_at, x_tower, g_at, g_tower, dx_at, dx_tower, bias_at, index_at, parts_at, band_at, patches, alpha, k,
    scale: tl.constexpr,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    g_image: tl.constexpr, g_line: tl.constexpr, g_pixel: tl.constexpr, g_channel: tl.constexpr,
    dx_image: tl.constexpr, dx_line: tl.constexpr, dx_pixel: tl.constexpr, dx_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, used: tl.constexpr,
    has_bias: tl.constexpr, has_index: tl.constexpr, has_parts: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    precision: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """Patches of stride x stride pixels: for each pixel of one, the windows that see it, and its place in them, are
    constants."""
    tower = tl.program_id(1).to(tl.int64)
    across: tl.constexpr = (width + stride - 1) // stride
    down: tl.constexpr = (height + stride - 1) // stride
    x_at += tower * x_tower
    g_at += tower * g_tower
    dx_at += tower * dx_tower
    index_at += tower * (patches // (down * across) * (out_height * out_width)) * channels
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
    for block in range(tl.program_id(0), tl.cdiv(patches, rows), tl.num_programs(0)):
        patch = block * rows + tl.arange(0, rows)
        ox, oy, image = patch % across, patch // across % down, patch // (across * down)
        for at in tl.static_range(stride * stride):
            line, column = oy * stride + at // stride, ox * stride + at % stride
            inside = (patch < patches) & (line < height) & (column < width)
            offset = image * x_image + line * x_line + column * x_pixel
            at_x = x_at + (offset[:, None] + channel[None, :])
            v = tl.load(at_x, mask=inside[:, None] & there[None, :], other=0.0).to(tl.float32)
            if has_bias:
                v += bias[None, :]
            # Without this the compiler moves everything up to the multiplication behind the exchange of its operand,
            # where each warp computes it for all channels.
            v = tl.where(there[None, :], v, 0.0)
            r = v
            if relu == "first":
                r = tl.maximum(v, 0.0, propagate_nan=NAN)
            g = _from_windows(
                g_at, index_at, image, oy, ox, inside, there, channel, at // stride, at % stride,
                g_image, g_line, g_pixel, g_channel, out_height, out_width, channels, has_index, window, stride,
            )  # fmt: skip
            if scale != 1:
                g *= scale
            if relu == "first":
                g = tl.where(v > 0, g, 0.0)
            if half > 0:
                root = tl.rsqrt(k + alpha * _sums(r * r, band, precision))
                g *= root * tl.sqrt(root)
                through = _sums(g * (r * (root * root)), band, precision)  # root^2 is 1 / the sum
                g -= 1.5 * alpha * r * through
            offset = image * dx_image + line * dx_line + column * dx_pixel
            at_dx = dx_at + (offset[:, None] + channel[None, :] * dx_channel)
            tl.store(at_dx, g.to(dx_at.dtype.element_ty), mask=inside[:, None] & mine[None, :])
            if has_parts:
                sums += g
    if has_parts:
        at = tl.program_id(0) * tl.num_programs(1) * channels + tower * channels + channel
        tl.store(parts_at + at, tl.sum(sums, 0), mask=mine)
