"""Normalisation within each map (docs/specification.md, "The network") on a GPU.

    s = 1 + alpha / size^2 sum x^2;  y = x s^(-3/4)
    t = g x s^(-7/4);  dx = g s^(-3/4) - 3/2 alpha / size^2 x sum t

over the `size` x `size` pixels around, clipped at the map's edges. The gradient takes two kernels: the first leaves t
and s, the second adds up t. Maps are [B, H, W, C], contiguous.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import torch
import triton
import triton.language as tl
from torch import Tensor


def forward(x: Tensor, y: Tensor, size: int, alpha: float) -> None:
    """Compute y from x."""
    _launch(0, x, x, y, x, size, alpha)


def backward(x: Tensor, g: Tensor, dx: Tensor, size: int, alpha: float) -> None:
    """Compute dx from x and g, the gradient of y."""
    t, s = (torch.empty(x.shape, dtype=torch.float32, device=x.device) for _ in range(2))
    _launch(1, x, g, t, s, size, alpha)
    _launch(2, x, t, dx, s, size, alpha, g)


def _launch(
    phase: int, x: Tensor, a: Tensor, out: Tensor, s: Tensor, size: int, alpha: float, g: Tensor | None = None
) -> None:
    batch, height, width, channels = x.shape
    assert all(t.is_contiguous() and t.shape == x.shape for t in (x, a, out, s, x if g is None else g))
    tile = min(128, triton.next_power_of_2(channels))
    rows = max(1, 1024 // tile)
    pixels = batch * height * width
    _spatial[(triton.cdiv(pixels, rows), triton.cdiv(channels, tile))](
        *(x, a, out, s, x if g is None else g, pixels, height, width, channels, alpha / size**2),
        *(size // 2, phase, rows, tile),
    )


@triton.jit
def _spatial(
    x_at, a_at, out_at, s_at, g_at, pixels, height, width, channels, alpha,
    half: tl.constexpr, phase: tl.constexpr, rows: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0).to(tl.int64) * rows + tl.arange(0, rows)
    channel = tl.program_id(1) * tile + tl.arange(0, tile)
    column, line = pixel % width, pixel // width % height
    there = (pixel < pixels)[:, None] & (channel < channels)[None, :]
    at = pixel[:, None] * channels + channel[None, :]
    total = tl.zeros((rows, tile), tl.float32)
    for dy in tl.static_range(-half, half + 1):
        for dx in tl.static_range(-half, half + 1):
            inside = (line + dy >= 0) & (line + dy < height) & (column + dx >= 0) & (column + dx < width)
            beside = at + (dy * width + dx) * channels
            if phase == 2:
                total += tl.load(a_at + beside, mask=there & inside[:, None], other=0.0)
            else:
                v = tl.load(x_at + beside, mask=there & inside[:, None], other=0.0).to(tl.float32)
                total += v * v
    x = tl.load(x_at + at, mask=there, other=0.0).to(tl.float32)
    if phase == 2:
        s = tl.load(s_at + at, mask=there, other=1.0)
    else:
        s = 1 + alpha * total
    root = tl.rsqrt(s)
    power = root * tl.sqrt(root)
    if phase == 0:
        tl.store(out_at + at, (x * power).to(out_at.dtype.element_ty), mask=there)
    if phase == 1:
        g = tl.load(a_at + at, mask=there, other=0.0).to(tl.float32)
        tl.store(out_at + at, g * x * power / s, mask=there)
        tl.store(s_at + at, s, mask=there)
    if phase == 2:
        g = tl.load(g_at + at, mask=there, other=0.0).to(tl.float32)
        tl.store(out_at + at, (g * power - 1.5 * alpha * x * total).to(out_at.dtype.element_ty), mask=there)
