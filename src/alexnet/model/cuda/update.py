"""The update of the paper (section 5) on a GPU: master weights and velocity in float32, and the operand in one pass.

    v <- momentum v - weight_decay lr w - lr g;   w <- w + v;   operand <- w

An operand is the copy of a weight that convolutions and matrix multiplications read, in their number format and their
layout. Learning rate and weight decay of each parameter lie in the device's memory: `rates` float32 [2]. A learning
rate of 0 freezes the parameter.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import torch
import triton
import triton.language as tl
from torch import Tensor


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, whose matrix multiplication knows no bfloat16."""
    return triton.knobs.runtime.interpret


FUSED_BATCH = 256
"""Most images of a batch for which `update_matrix` multiplies and updates in one kernel."""
MATRIX = (64, 64, 64, 4, 2)
"""`update_matrix`'s tile of the weight, the images at a time, warps, and stages of its pipeline."""


def update_weight(
    w: Tensor, v: Tensor, g: list[Tensor], operand: Tensor, positions: Tensor | None, rates: Tensor, momentum: float
) -> None:
    """Update a weight from its gradient `g`, one tensor per tower, laid out as the operand.

    `positions` int32: where each element of w lies in `operand`, in w's order in memory; None: in the same order.
    """
    assert w.stride() == v.stride() and operand.is_contiguous()
    assert positions is None or positions.stride() == w.stride()
    first = g[0]
    per_tower = first.numel()
    tower = (g[-1].data_ptr() - first.data_ptr()) // first.element_size() if len(g) > 1 else 0
    _update_weight[(triton.cdiv(w.numel(), 1024),)](
        *(w, v, first, tower, per_tower, operand, w if positions is None else positions, rates, w.numel(), momentum),
        *(positions is not None, 1024),
    )


def update_bias(w: Tensor, v: Tensor, parts: Tensor, operand: Tensor, rates: Tensor, momentum: float) -> None:
    """Update a bias [C] from partial sums of its gradient, float32 [N, C]."""
    rows, block = 512, 16
    grid = (triton.cdiv(w.numel(), block),)
    _update_bias[grid](w, v, parts, len(parts), operand, rates, w.numel(), momentum, rows, block, num_warps=8)


def update_matrix(w: Tensor, v: Tensor, x: Tensor, g: Tensor, operand: Tensor, rates: Tensor, momentum: float) -> None:
    """Update a fully connected weight [out, in] from x [B, in] and g [B, out]: its gradient, g' x, is never in memory.

    All are contiguous; `operand` is [out, in]. For large batches and in float32 cuBLAS computes the gradient after all:
    it is faster.
    """
    if len(x) > FUSED_BATCH or (x.dtype == torch.float32 and not interpreted()):
        update_weight(w, v, [g.t() @ x], operand, None, rates, momentum)
        return
    batch, inputs = x.shape
    outputs = g.shape[1]
    rows, columns, depth, warps, stages = MATRIX
    tiles = triton.cdiv(outputs, rows) * triton.cdiv(inputs, columns)
    _update_matrix[(tiles,)](
        *(w, v, x, g, operand, rates, batch, outputs, inputs, momentum),
        *(interpreted(), rows, columns, depth),
        num_warps=warps,
        num_stages=stages,
    )


@triton.jit
def _apply(w, v, g, rate, decay, momentum):
    v = momentum * v - decay * rate * w - rate * g
    return w + v, v


@triton.jit
def _update_weight(
    w_at, v_at, g_at, g_tower, per_tower, operand_at, positions_at, rates_at, count, momentum,
    moved: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    rate, decay = tl.load(rates_at), tl.load(rates_at + 1)
    if rate != 0:
        i = tl.program_id(0) * block + tl.arange(0, block)
        there = i < count
        position, at = i, i.to(tl.int64)
        if moved:
            position = tl.load(positions_at + i, mask=there, other=0)
            at = (position // per_tower).to(tl.int64) * g_tower + position % per_tower
        g = tl.load(g_at + at, mask=there, other=0.0).to(tl.float32)
        w, v = tl.load(w_at + i, mask=there, other=0.0), tl.load(v_at + i, mask=there, other=0.0)
        w, v = _apply(w, v, g, rate, decay, momentum)
        tl.store(w_at + i, w, mask=there)
        tl.store(v_at + i, v, mask=there)
        tl.store(operand_at + position, w.to(operand_at.dtype.element_ty), mask=there)


@triton.jit
def _update_bias(
    w_at, v_at, parts_at, parts, operand_at, rates_at, count, momentum, rows: tl.constexpr, block: tl.constexpr
):
    rate, decay = tl.load(rates_at), tl.load(rates_at + 1)
    if rate != 0:
        i = tl.program_id(0) * block + tl.arange(0, block)
        there = i < count
        sums = tl.zeros((rows, block), tl.float32)
        for start in range(0, parts, rows):
            part = start + tl.arange(0, rows)
            mask = (part < parts)[:, None] & there[None, :]
            sums += tl.load(parts_at + part[:, None] * count + i[None, :], mask=mask, other=0.0)
        w, v = tl.load(w_at + i, mask=there, other=0.0), tl.load(v_at + i, mask=there, other=0.0)
        w, v = _apply(w, v, tl.sum(sums, 0), rate, decay, momentum)
        tl.store(w_at + i, w, mask=there)
        tl.store(v_at + i, v, mask=there)
        tl.store(operand_at + i, w.to(operand_at.dtype.element_ty), mask=there)


@triton.jit
def _update_matrix(
    w_at, v_at, x_at, g_at, operand_at, rates_at, batch, outputs, inputs, momentum,
    wide: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    rate, decay = tl.load(rates_at), tl.load(rates_at + 1)
    if rate != 0:
        across = tl.cdiv(outputs, rows)
        o = tl.program_id(0) % across * rows + tl.arange(0, rows)
        i = tl.program_id(0) // across * columns + tl.arange(0, columns)
        there = (o < outputs)[:, None] & (i < inputs)[None, :]
        at = o[:, None].to(tl.int64) * inputs + i[None, :]
        w, v = tl.load(w_at + at, mask=there, other=0.0), tl.load(v_at + at, mask=there, other=0.0)
        g = tl.zeros((rows, columns), tl.float32)
        for start in range(0, batch, depth):
            b = start + tl.arange(0, depth)
            inside = (b < batch)[:, None]
            left = tl.load(g_at + b[:, None] * outputs + o[None, :], mask=inside & (o < outputs)[None, :], other=0.0)
            right = tl.load(x_at + b[:, None] * inputs + i[None, :], mask=inside & (i < inputs)[None, :], other=0.0)
            if wide:
                left, right = left.to(tl.float32), right.to(tl.float32)
            g = tl.dot(tl.trans(left), right, g, input_precision="tf32x3" if wide else "tf32")
        w, v = _apply(w, v, g, rate, decay, momentum)
        tl.store(w_at + at, w, mask=there)
        tl.store(v_at + at, v, mask=there)
        tl.store(operand_at + at, w.to(operand_at.dtype.element_ty), mask=there)
