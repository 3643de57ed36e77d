"""The network's input on a GPU: from the bytes of crops to the first convolution's operand, one kernel for a batch.

    x = (crop - mean + shift) / divisor

as `alexnet.model.input.network_input` computes it, then space-to-depth: `side` x `side` pixels become the channels of
one pixel, so that three colours fill the tensor cores. Zeros surround the image.
"""
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
# (A Triton kernel is launched with other arguments than it has parameters.)

import triton
import triton.language as tl
from torch import Tensor

TOP, LEFT, MIRRORED, LABEL, RED, GREEN, BLUE, DIVISOR = range(8)
NUMBERS = 8
"""Numbers for each image, float32: top and left of its crop, whether it is mirrored, its label, the shift of red, green
and blue, and the divisor. All are exact: labels are below 2^24."""


def network_input(
    crops: Tensor, numbers: Tensor, mean: Tensor, slot: Tensor, x: Tensor, side: int, padding: int
) -> None:
    """Fill `x` [B, H, W, C] from one slot of a ring of batches.

    `crops` uint8 [slots, B, S, S, 3], already mirrored; `numbers` float32 [slots, B, NUMBERS]; `mean` float32
    [M, M, 3]; `slot` int64 [1], on the device. `padding`: zeros on the left of and above the image. Of x's channels the
    first 3 side^2 are written.
    """
    _, batch, crop, _, _ = crops.shape
    assert crops.is_contiguous() and numbers.is_contiguous() and mean.is_contiguous() and x.stride(3) == 1
    height, width = x.shape[1:3]
    rows = 128
    grid = (triton.cdiv(height * width * side, rows), batch)
    _input[grid](
        *(crops, numbers, mean, slot, x, batch, *x.stride()[:3]),
        *(crop, mean.shape[0], height, width, padding, side, NUMBERS, rows, 4 if side % 4 == 0 else 1),
        num_warps=4,
    )


@triton.jit
def _input(
    crops_at, numbers_at, mean_at, slot_at, x_at, batch,
    x_image: tl.constexpr, x_line: tl.constexpr, x_pixel: tl.constexpr,
    crop: tl.constexpr, size: tl.constexpr, height: tl.constexpr, width: tl.constexpr, padding: tl.constexpr,
    side: tl.constexpr, per_image: tl.constexpr, rows: tl.constexpr,
    each: tl.constexpr,
):  # fmt: skip
    """A thread fills one line of a block of pixels, `each` numbers at a time."""
    image = tl.program_id(1).to(tl.int64)
    at = tl.load(slot_at) * batch + image
    numbers_at += at * per_image
    crops_at += at * crop * crop * 3
    top, left = tl.load(numbers_at).to(tl.int32), tl.load(numbers_at + 1).to(tl.int32)
    mirrored = tl.load(numbers_at + 2) != 0
    red, green, blue = tl.load(numbers_at + 4), tl.load(numbers_at + 5), tl.load(numbers_at + 6)
    factor = 1 / tl.load(numbers_at + 7)
    i = tl.program_id(0) * rows + tl.arange(0, rows)
    line, pixel = i % side, i // side
    y, first_x = pixel // width * side - padding + line, pixel % width * side - padding
    x_at += image * x_image + (pixel // width * x_line + pixel % width * x_pixel + line * (3 * side))[:, None]
    for part in tl.static_range(3 * side // each):
        channel = part * each + tl.arange(0, each)[None, :]
        colour = channel % 3
        x = first_x[:, None] + channel // 3
        written = (pixel < height * width)[:, None]
        inside = written & ((y >= 0) & (y < crop))[:, None] & (x >= 0) & (x < crop)
        byte = tl.load(crops_at + ((y * crop)[:, None] + x) * 3 + colour, mask=inside, other=0).to(tl.float32)
        column = left + tl.where(mirrored, crop - 1 - x, x)
        mean = tl.load(mean_at + (((top + y) * size)[:, None] + column) * 3 + colour, mask=inside, other=0.0)
        shift = tl.where(colour == 0, red, tl.where(colour == 1, green, blue))
        value = tl.where(inside, (byte - (mean - shift)) * factor, 0.0)
        tl.store(x_at + channel, value.to(x_at.dtype.element_ty), mask=written)
