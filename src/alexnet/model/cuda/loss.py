"""Cross-entropy of the softmax (section 3.5), its gradient, and the top-1 error, in one kernel."""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import triton
import triton.language as tl
from torch import Tensor

from alexnet.model.cuda.input import LABEL


def cross_entropy(logits: Tensor, numbers: Tensor, slot: Tensor, g: Tensor, each: Tensor) -> None:
    """From logits [B, C] and the labels in `numbers` (see `input`): the gradient of their mean loss, g [B, C], and
    `each` float32 [2, B], the loss and the top-1 error of each image.

    The error is 0 for the right class, 1 for another, and a fraction where several have the highest score, as
    `alexnet.training.metrics.top_k_credit` counts; 1 where a score is not finite.
    """
    batch, classes = logits.shape
    assert logits.stride(1) == g.stride(1) == 1 and each.is_contiguous()
    _cross_entropy[(batch,)](
        *(logits, logits.stride(0), g, g.stride(0), each, numbers, slot, batch, classes, LABEL, numbers.shape[2]),
        triton.next_power_of_2(classes),
        num_warps=4,
    )


@triton.jit
def _cross_entropy(
    logits_at, logits_row, g_at, g_row, each_at, numbers_at, slot_at, batch, classes,
    label_number: tl.constexpr, per_image: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    label = tl.load(numbers_at + (tl.load(slot_at) * batch + image) * per_image + label_number).to(tl.int32)
    i = tl.arange(0, tile)
    z = tl.load(logits_at + image * logits_row + i, mask=i < classes, other=float("-inf")).to(tl.float32)
    own = tl.load(logits_at + image * logits_row + label).to(tl.float32)
    largest = tl.max(z, 0)
    e = tl.exp(z - largest)
    total = tl.sum(e, 0)
    loss = largest + tl.log(total) - own
    g = (e / total - tl.where(i == label, 1.0, 0.0)) / batch
    tl.store(g_at + image * g_row + i, g.to(g_at.dtype.element_ty), mask=i < classes)
    above = tl.sum(tl.where(z > own, 1.0, 0.0), 0)
    tied = tl.sum(tl.where(z == own, 1.0, 0.0), 0)
    finite = tl.sum(tl.where((i < classes) & ~(tl.abs(z) < float("inf")), 1.0, 0.0), 0) == 0
    credit = tl.where(finite & (above < 1), 1.0 / tl.maximum(tied, 1.0), 0.0)
    tl.store(each_at + image, loss)
    tl.store(each_at + batch + image, 1.0 - credit)
