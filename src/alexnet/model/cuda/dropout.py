"""Dropout (section 4.2) whose mask is a function of seed, layer, image and unit alone.

Unit `u` of image `i` in layer `l` is kept where the first number of Philox4x32-10 with the seed as key and the counter
(i units + u, l, 0, 0) is at least p 2^32. The seed is that of the step, in the device's memory, so that a CUDA graph
draws new masks each time it runs.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import triton
import triton.language as tl
from torch import Tensor


def dropout_(x: Tensor, seed: Tensor, layer: int, p: float, scale: float) -> None:
    """Multiply x [B, U], contiguous, by its mask and by `scale`. `seed` int64 [1]."""
    assert x.is_contiguous()
    threshold = min(round(p * 2**32), 2**32 - 1)
    _dropout[(triton.cdiv(x.numel(), 1024),)](x, seed, x.numel(), layer, threshold, scale, 1024)


@triton.jit
def _dropout(x_at, seed_at, count, layer, threshold, scale, block: tl.constexpr):
    i = tl.program_id(0) * block + tl.arange(0, block)
    counter = i.to(tl.uint32)
    zero = counter * 0
    drawn, _, _, _ = tl.philox(tl.load(seed_at), counter, zero + layer, zero, zero)
    kept = drawn.to(tl.uint32, bitcast=True).to(tl.int64) >= threshold
    x = tl.load(x_at + i, mask=i < count, other=0.0).to(tl.float32)
    tl.store(x_at + i, tl.where(kept, x * scale, 0.0).to(x_at.dtype.element_ty), mask=i < count)
