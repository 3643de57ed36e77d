"""Dropout as in 2012 (paper, section 4.2): not rescaled in training, multiplied by 1 - p in testing.

`nn.Dropout` rescales in training instead, which at the same learning rate trains another network.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Multiplies [B, units] by a random 0/1 mask in training, and by 1 - `p` in testing.

    `p` is the probability of 0. `inverted`: divide by 1 - `p` in training and change nothing in testing, as
    `nn.Dropout`.

    Raises ValueError for a `p` below 0, and for 1 and more.
    """

    def __init__(self, p: float = 0.5, inverted: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}; the probability of dropping a unit is at least 0 and less than 1.")
        self.p, self.inverted = p, inverted
        self.mask_shape: tuple[int, int] | None = None
        """(images, units) of the mask that is drawn, where `x` is only a part of a batch or of a layer's units; each
        process then draws the whole mask and uses its own part, so that all drop what one process would drop."""
        self.mask_offset: tuple[int, int] = (0, 0)
        """First image and first unit of `x` in that mask."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training, self.inverted, self.mask_shape, self.mask_offset)

    def extra_repr(self) -> str:
        return f"p={self.p}, inverted={self.inverted}"


def dropout(
    x: Tensor,
    p: float,
    training: bool,
    inverted: bool,
    mask_shape: tuple[int, int] | None,
    mask_offset: tuple[int, int],
) -> Tensor:
    """Dropout of x [B, units], for the settings of `Dropout`."""
    if not training:
        return x if inverted else x * (1 - p)
    if mask_shape is None:
        mask = keep_mask(x.shape, p, x.device)
    else:
        image, unit = mask_offset
        mask = keep_mask(mask_shape, p, x.device)[image : image + x.shape[0], unit : unit + x.shape[1]]
    mask = mask.to(x.dtype)  # PyTorch multiplies numbers of different formats several times as slowly
    return x * mask / (1 - p) if inverted else x * mask


torch.fx.wrap("dropout")  # one node in a traced network, in training and in testing


def keep_mask(shape: Sequence[int], p: float, device: torch.device) -> Tensor:
    """A random bool tensor of `shape`, each element False with probability `p` (to within 2 ** -16).

    Takes 16 random bits per element, four elements from each 64-bit draw: ten times as fast on a CPU as one draw each.
    """
    count = math.prod(shape)
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    return draws.view(torch.int16)[:count].view(shape) >= min(round(p * 2**16) - 2**15, 2**15 - 1)
