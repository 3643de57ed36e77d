"""Dropout as in 2012: a 0/1 mask without rescaling in training, a factor in testing."""

import math

import pytest
import torch
from torch import nn

from alexnet.model.dropout import Dropout, keep_mask


def test_inverted_dropout_is_pytorchs():
    ours, theirs = Dropout(0.5, inverted=True).train(), nn.Dropout(0.5)
    x = torch.full((1000, 40), 3.0)
    assert set(ours(x).unique().tolist()) == set(theirs(x).unique().tolist()) == {0.0, 6.0}
    assert torch.equal(ours.eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_each_unit_is_kept_independently(p: float):
    mask = keep_mask((500, 1001), p, torch.device("cpu")).double()
    assert abs(mask.mean() - (1 - p)) < 4 * math.sqrt(p * (1 - p) / mask.numel()) + 2**-15
    if 0 < p < 1:
        columns = torch.corrcoef(torch.stack([mask[:, :-1].flatten(), mask[:, 1:].flatten()]))[0, 1]
        rows = torch.corrcoef(torch.stack([mask[:-1].flatten(), mask[1:].flatten()]))[0, 1]
        assert max(abs(columns), abs(rows)) < 5 / math.sqrt(mask.numel() - 1001)


def test_parts_of_a_batch_use_their_parts_of_one_mask():
    x, whole, part = torch.ones(6, 8), Dropout().train(), Dropout().train()
    part.mask_shape = 6, 8
    torch.manual_seed(1)
    wanted = whole(x)
    for images, units in ((0, 0), (2, 4), (4, 0)):
        part.mask_offset = images, units
        torch.manual_seed(1)
        assert torch.equal(part(torch.ones(2, 4)), wanted[images : images + 2, units : units + 4])
