"""The Triton kernels of `stage`, which says what they compute.

A program is one warp, its tiles are [lanes, EACH]: a thread has eight adjacent channels of a pixel, and the `lanes`
threads as many whole pixels as fit, `across` threads each. Sums over neighbouring channels need a few numbers of the
threads on both sides, and nothing waits for other warps. Sizes and strides are constants of a kernel, so that it is
compiled for each shape: divisions by them are cheap, and loads are as wide as they can be.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportIndexIssue=false
# ruff: noqa: RUF005
# (A Triton kernel is launched with other arguments than it has parameters, and knows no unpacking of tuples.)

import triton
import triton.language as tl

NAN = tl.constexpr(tl.PropagateNan.ALL)
NOTHING = tl.constexpr(255)
"""The index of a maximum that gets no gradient, because the ReLU before or after pooling is 0."""
EACH = tl.constexpr(8)
"""Channels of a thread: as many as one load of 16 bytes has in bfloat16."""


@triton.jit
def _apart(x):
    """[lanes, EACH] as one tensor [lanes] per channel of a thread."""
    even, odd = x.reshape(x.shape[0], 2, 2, 2).split()
    x04, x26 = even.split()
    x15, x37 = odd.split()
    x0, x4 = x04.split()
    x2, x6 = x26.split()
    x1, x5 = x15.split()
    x3, x7 = x37.split()
    return x0, x1, x2, x3, x4, x5, x6, x7


@triton.jit
def _together(x):
    """The inverse of `_apart`."""
    even = tl.join(tl.join(x[0], x[4]), tl.join(x[2], x[6]))
    odd = tl.join(tl.join(x[1], x[5]), tl.join(x[3], x[7]))
    return tl.join(even, odd).reshape(x[0].shape[0], EACH)


@triton.jit
def _sums(x, half: tl.constexpr, across: tl.constexpr):
    """Over the channels at most `half` away, among the `across` lanes of a pixel."""
    lanes: tl.constexpr = x.shape[0]
    lane = tl.arange(0, lanes)
    left, own, right = (), _apart(x), ()
    for i in tl.static_range(half):
        beside = tl.gather(own[EACH - half + i], (lane + lanes - 1) % lanes, 0)
        left = left + (tl.where(lane % across == 0, 0.0, beside),)
        beside = tl.gather(own[i], (lane + 1) % lanes, 0)
        right = right + (tl.where(lane % across == across - 1, 0.0, beside),)
    runs = left + own + right  # sums of 1, 2, 4, 8 channels from each on
    sums = own
    for bit in tl.static_range(4):
        longer, more = (), ()
        if (2 * half + 1) >> bit & 1:
            for i in tl.static_range(EACH):
                if bit == 0:
                    more = more + (runs[i],)
                else:
                    more = more + (sums[i] + runs[i + (2 * half + 1) % (1 << bit)],)
            sums = more
        if (2 * half + 1) >> bit > 1:
            for i in tl.static_range(EACH + 2 * half + 1 - (2 << bit)):
                longer = longer + (runs[i] + runs[i + (1 << bit)],)
            runs = longer
    return _together(sums)


@triton.jit
def _channels(block, channels: tl.constexpr, lanes: tl.constexpr, across: tl.constexpr, used: tl.constexpr):
    """The channels [lanes, EACH] of each thread, which of them there are, and which it computes.

    Where a tower is cut, a block begins and ends with a lane that others compute, unless it uses all.
    """
    lane = tl.arange(0, lanes)
    first: tl.constexpr = (across - used) // 2
    group = block * used - first + lane % across
    channel = (group * EACH)[:, None] + tl.arange(0, EACH)[None, :]
    there = (channel >= 0) & (channel < channels) & (lane < lanes // across * across)[:, None]
    mine = (lane % across >= first) & (lane % across < first + used)
    return channel, there, there & mine[:, None]


@triton.jit
def _line(
    x_at, bias, alpha, k, image, iy, first_x, in_row, channel, there, height: tl.constexpr, width: tl.constexpr,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr, whole: tl.constexpr, across: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr,
):  # fmt: skip
    """The largest normalised value of `window` pixels of a line, from `first_x` on, and which of them it is."""
    for dx in tl.static_range(window):
        inside = in_row & (iy < height) & (first_x + dx < width)
        offset = image * x_image + iy * x_line + (first_x + dx) * x_pixel
        at_x = x_at + (offset[:, None] + channel)
        v = tl.load(at_x, mask=inside[:, None] & there, other=0.0).to(tl.float32)
        v += bias
        if relu == "first":
            v = tl.maximum(v, 0.0, propagate_nan=NAN)
        if half > 0:
            root = tl.rsqrt(k + alpha * _sums(v * v, half, across))
            v = v * root * tl.sqrt(root)
        if not whole:
            v = tl.where(inside[:, None], v, float("-inf"))
        if dx == 0:
            best, which = v, tl.zeros(v.shape, tl.int32)
        else:
            which = tl.where(v > best, dx, which)
            best = tl.maximum(best, v, propagate_nan=NAN)
    return best, which


@triton.jit
def forward(
    x_at, x_tower, y_at, y_tower, bias_at, index_at, columns, alpha, k,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    y_image: tl.constexpr, y_line: tl.constexpr, y_pixel: tl.constexpr, y_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, across: tl.constexpr, used: tl.constexpr, has_bias: tl.constexpr, has_index: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr,
    lines: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Windows in so many `columns`, counted through all images, and `lines` one after the other. What two windows, one
    above the other, share is computed once if it is one line."""
    tower = tl.program_id(1).to(tl.int64)
    x_at += tower * x_tower
    y_at += tower * y_tower
    index_at += tower * columns * out_height * channels
    channel, there, mine = _channels(tl.program_id(2), channels, lanes, across, used)
    bias = tl.zeros((lanes, EACH), tl.float32)
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    down: tl.constexpr = (out_height + lines - 1) // lines
    whole: tl.constexpr = (out_height - 1) * stride + window <= height and (out_width - 1) * stride + window <= width
    shares: tl.constexpr = window == stride + 1
    at = tl.program_id(0) // down * (lanes // across) + tl.arange(0, lanes) // across
    line = tl.program_id(0) % down * lines
    image, column, in_row = at // out_width, at % out_width, at < columns
    best, which = tl.zeros((lanes, EACH), tl.float32), tl.zeros((lanes, EACH), tl.int32)
    if shares:
        best, which = _line(
            x_at, bias, alpha, k, image, line * stride, column * stride, in_row, channel, there, height, width,
            x_image, x_line, x_pixel, whole, across, relu, half, window,
        )  # fmt: skip
    for oy in range(line, min(line + lines, out_height)):
        last, last_which = best, which
        for dy in tl.static_range(1 if shares else 0, window):
            last, last_which = _line(
                x_at, bias, alpha, k, image, oy * stride + dy, column * stride, in_row, channel, there, height, width,
                x_image, x_line, x_pixel, whole, across, relu, half, window,
            )  # fmt: skip
            if dy == 0:
                best, which = last, last_which
            else:
                which = tl.where(last > best, dy * window + last_which, which)
                best = tl.maximum(best, last, propagate_nan=NAN)
        if relu != "":
            which = tl.where(best <= 0, NOTHING, which)
        if relu == "last":
            best = tl.where(best < 0, 0.0, best)
        computed = in_row[:, None] & mine
        offset = image * y_image + oy * y_line + column * y_pixel
        at_y = y_at + (offset[:, None] + channel * y_channel)
        tl.store(at_y, best.to(y_at.dtype.element_ty), mask=computed)
        if has_index:
            offset = ((image * out_height + oy) * out_width + column) * channels
            at_index = index_at + (offset[:, None] + channel)
            tl.store(at_index, which.to(index_at.dtype.element_ty), mask=computed)
        best, which = last, last_which


@triton.constexpr_function
def _place(at, each, reach, window, stride):
    """The index, in a window, of pixel `at` of a patch; None where the window does not reach it."""
    y, x = at // stride + each // reach * stride, at % stride + each % reach * stride
    return y * window + x if y < window and x < window else None


@triton.jit
def _over_pixels(x, lanes: tl.constexpr, across: tl.constexpr):
    """The sums over all pixels of a tile, in the lanes of its first one. Lanes without a pixel are 0."""
    sums = _apart(x)
    for bit in tl.static_range(12):
        if lanes // across > 2048 >> bit:
            beside = tl.arange(0, lanes) + (2048 >> bit) * across
            more = ()
            for i in tl.static_range(EACH):
                other = tl.gather(sums[i], beside % lanes, 0)
                more = more + (sums[i] + tl.where(beside < lanes, other, 0.0),)
            sums = more
    return _together(sums)


@triton.jit
def _gradient(at, g, index, has_index: tl.constexpr, reach: tl.constexpr, window: tl.constexpr, stride: tl.constexpr):
    """What pixel `at` of a patch gets from the windows whose maximum it is."""
    total = ()
    for each in tl.static_range(reach * reach):
        if _place(at, each, reach, window, stride) is not None:
            part = g[each]
            if has_index:
                part = tl.where(index[each] == _place(at, each, reach, window, stride), part, 0.0)
            if len(total) == 0:
                total = (part,)
            else:
                total = (total[0] + part,)
    if len(total) == 0:
        total = (tl.zeros(g[0].shape, tl.float32),)
    return total[0]


@triton.jit
def backward(
    x_at, x_tower, g_at, g_tower, dx_at, dx_tower, bias_at, index_at, parts_at, patches, alpha, k,
    scale: tl.constexpr,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    g_image: tl.constexpr, g_line: tl.constexpr, g_pixel: tl.constexpr, g_channel: tl.constexpr,
    dx_image: tl.constexpr, dx_line: tl.constexpr, dx_pixel: tl.constexpr, dx_channel: tl.constexpr,
    height: tl.constexpr, width: tl.constexpr, out_height: tl.constexpr, out_width: tl.constexpr,
    channels: tl.constexpr, across: tl.constexpr, used: tl.constexpr,
    has_bias: tl.constexpr, has_index: tl.constexpr, has_parts: tl.constexpr,
    relu: tl.constexpr, half: tl.constexpr, window: tl.constexpr, stride: tl.constexpr, lanes: tl.constexpr,
):  # fmt: skip
    """Patches of stride x stride pixels: for each pixel of one, the windows that see it, and its place in them, are
    constants."""
    tower = tl.program_id(1).to(tl.int64)
    over: tl.constexpr = (width + stride - 1) // stride
    down: tl.constexpr = (height + stride - 1) // stride
    reach: tl.constexpr = (window + stride - 1) // stride
    x_at += tower * x_tower
    g_at += tower * g_tower
    dx_at += tower * dx_tower
    index_at += tower * (patches // (down * over) * (out_height * out_width)) * channels
    channel, there, mine = _channels(tl.program_id(2), channels, lanes, across, used)
    bias = tl.zeros((lanes, EACH), tl.float32)
    if has_bias:
        bias = tl.load(bias_at + tower * channels + channel, mask=there, other=0.0)
    sums = tl.zeros((lanes, EACH), tl.float32)
    side: tl.constexpr = lanes // across
    for block in range(tl.program_id(0), tl.cdiv(patches, side), tl.num_programs(0)):
        patch = block * side + tl.arange(0, lanes) // across
        ox, oy, image = patch % over, patch // over % down, patch // (over * down)
        g_windows, index_windows = (), ()
        for each in tl.static_range(reach * reach):
            line, column = oy - each // reach, ox - each % reach
            seen = (patch < patches) & (line >= 0) & (line < out_height) & (column >= 0) & (column < out_width)
            seen = seen[:, None] & there
            offset = image * g_image + line * g_line + column * g_pixel
            at_g = g_at + (offset[:, None] + channel * g_channel)
            g_windows = g_windows + (tl.load(at_g, mask=seen, other=0.0).to(tl.float32),)
            if has_index:
                offset = ((image * out_height + line) * out_width + column) * channels
                at_index = index_at + (offset[:, None] + channel)
                index_windows = index_windows + (tl.load(at_index, mask=seen, other=NOTHING),)
        for at in tl.static_range(stride * stride):
            line, column = oy * stride + at // stride, ox * stride + at % stride
            inside = ((patch < patches) & (line < height) & (column < width))[:, None]
            offset = image * x_image + line * x_line + column * x_pixel
            at_x = x_at + (offset[:, None] + channel)
            v = tl.load(at_x, mask=inside & there, other=0.0).to(tl.float32) + bias
            g = _gradient(at, g_windows, index_windows, has_index, reach, window, stride)
            if scale != 1:
                g *= scale
            r = v
            if relu == "first":
                r = tl.maximum(v, 0.0, propagate_nan=NAN)
                if not has_index:
                    g = tl.where(v > 0, g, 0.0)
            if half > 0:
                root = tl.rsqrt(k + alpha * _sums(r * r, half, across))
                g *= root * tl.sqrt(root)
                through = _sums(g * (r * (root * root)), half, across)  # root^2 is 1 / the sum
                g -= 1.5 * alpha * r * through
            offset = image * dx_image + line * dx_line + column * dx_pixel
            at_dx = dx_at + (offset[:, None] + channel * dx_channel)
            tl.store(at_dx, g.to(dx_at.dtype.element_ty), mask=inside & mine)
            sums += g
    if has_parts:
        at = (tl.program_id(0) * tl.num_programs(1) + tower) * channels + channel
        first = (tl.arange(0, lanes) < across)[:, None]
        tl.store(parts_at + at, _over_pixels(sums, lanes, across), mask=mine & first)
