"""Normalisation within each map (docs/specification.md, "The network") on a GPU.

    s = 1 + alpha / size^2 sum x^2;  y = x s^(-3/4)
    t = g x s^(-7/4);  dx = g s^(-3/4) - 3/2 alpha / size^2 x sum t

over the `size` x `size` pixels around, clipped at the map's edges. The gradient takes two kernels: the first leaves t,
in x's number format, and the second adds it up. Maps are [B, H, W, C], contiguous.

A program goes down `LINES` lines. Sums over the pixels of a line are computed once, for all windows that they are in.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# ruff: noqa: RUF005
# (A Triton kernel is launched with other arguments than it has parameters, and knows no unpacking of tuples.)

import torch
import triton
import triton.language as tl
from torch import Tensor

LINES = 9


def forward(x: Tensor, y: Tensor, size: int, alpha: float) -> None:
    """Compute y from x."""
    _launch(0, x, x, x, y, size, alpha)


def backward(x: Tensor, g: Tensor, dx: Tensor, size: int, alpha: float) -> None:
    """Compute dx from x and g, the gradient of y."""
    t = torch.empty_like(x)
    _launch(1, x, g, x, t, size, alpha)
    _launch(2, x, g, t, dx, size, alpha)


def _launch(phase: int, x: Tensor, g: Tensor, t: Tensor, out: Tensor, size: int, alpha: float) -> None:
    batch, height, width, channels = x.shape
    assert all(each.is_contiguous() and each.shape == x.shape for each in (x, g, t, out))
    tile = min(128, triton.next_power_of_2(channels))
    rows = max(1, 1024 // tile)
    columns, down = batch * width, triton.cdiv(height, LINES)
    _spatial[(triton.cdiv(columns, rows) * down, triton.cdiv(channels, tile))](
        *(x, g, t, out, columns, alpha / size**2, height, width, channels, size // 2, phase, LINES, rows, tile),
    )


@triton.jit
def _line(
    at, column, there, width: tl.constexpr, channels: tl.constexpr, half: tl.constexpr, squares: tl.constexpr
):  # fmt: skip
    """The pixels at `at`, and the sum of them, or of their squares, and those beside them in their line."""
    centre = tl.load(at, mask=there, other=0.0)
    total = centre.to(tl.float32)
    if squares:
        total *= total
    for dx in tl.static_range(1, half + 1):
        left, right = (column >= dx)[:, None] & there, (column < width - dx)[:, None] & there
        v = tl.load(at - dx * channels, mask=left, other=0.0).to(tl.float32)
        w = tl.load(at + dx * channels, mask=right, other=0.0).to(tl.float32)
        if squares:
            v, w = v * v, w * w
        total += v
        total += w
    return centre, total


@triton.jit
def _spatial(
    x_at, g_at, t_at, out_at, columns, alpha,
    height: tl.constexpr, width: tl.constexpr, channels: tl.constexpr,
    half: tl.constexpr, phase: tl.constexpr, lines: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    down: tl.constexpr = (height + lines - 1) // lines
    first = tl.program_id(0) % down * lines
    place = tl.program_id(0) // down * rows + tl.arange(0, rows)
    channel = tl.program_id(1) * tile + tl.arange(0, tile)
    there = (place < columns)[:, None] & (channel < channels)[None, :]
    column = place % width
    pixel = (place // width * (height * width) + column)[:, None] * channels + channel[None, :]
    centres, squares, sums = (), (), ()
    for i in tl.static_range(lines + 2 * half):
        line = first + i - half
        at, inside = pixel + line * (width * channels), there & (line >= 0) & (line < height)
        centre, total = _line(x_at + at, column, inside, width, channels, half, True)
        centres, squares = centres + (centre,), squares + (total,)
        if phase == 2:
            _, total = _line(t_at + at, column, inside, width, channels, half, False)
            sums = sums + (total,)
        if i >= 2 * half:
            s = squares[i]
            for before in tl.static_range(1, 2 * half + 1):
                s += squares[i - before]
            x = centres[i - half].to(tl.float32)
            root = tl.rsqrt(1 + alpha * s)
            power = root * tl.sqrt(root)
            at, inside = at - half * (width * channels), there & (line - half < height)
            if phase == 0:
                y = x * power
            else:
                y = tl.load(g_at + at, mask=inside, other=0.0).to(tl.float32) * power
            if phase == 1:
                y *= x * (root * root)
            if phase == 2:
                through = sums[i]
                for before in tl.static_range(1, 2 * half + 1):
                    through += sums[i - before]
                y -= 1.5 * alpha * x * through
            tl.store(out_at + at, y.to(out_at.dtype.element_ty), mask=inside)
