"""The fused passes against PyTorch's operations in float64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.model.lrn import lrn_plain

ALPHA, K = 0.01, 2.0
CASES = [  # relu, half, window, stride, channels per tower, towers, size, ceil_mode
    ("first", 2, 3, 2, 12, 2, 11, True),  # conv1 and conv2 of the paper
    ("last", 2, 3, 2, 12, 2, 11, True),  # conv1 of the original program
    ("first", 2, 2, 2, 12, 2, 11, True),  # windows that do not overlap
    ("first", 2, 3, 1, 5, 1, 6, True),
    ("first", 0, 4, 2, 5, 1, 9, True),
    ("first", 0, 1, 2, 5, 1, 6, False),  # pixels that no window sees
    ("first", 0, 1, 1, 20, 2, 5, True),
    ("first", 0, 3, 2, 7, 1, 6, True),
    ("", 0, 2, 2, 7, 1, 6, True),
    ("", 0, 1, 1, 7, 1, 3, True),
    ("first", 2, 1, 1, 270, 1, 2, True),  # more channels than a warp has
    ("first", 4, 3, 2, 300, 1, 3, False),
    ("first", 1, 3, 2, 20, 1, 5, False),
]


def expected(x: Tensor, bias: Tensor, case: tuple) -> Tensor:
    relu, half, window, stride, _, towers, _, ceil_mode = case
    v = x + bias[:, None, None]
    if relu == "first":
        v = v.relu()
    if half:
        v = lrn_plain(v, 2 * half + 1, ALPHA, 0.75, K, towers)
    if window > 1 or stride > 1:
        v = F.max_pool2d(v, window, stride, ceil_mode=ceil_mode)
    return v.relu() if relu == "last" else v


@pytest.mark.parametrize("case", CASES)
def test_a_pass_and_its_gradient_are_those_of_pytorch(case: tuple, device: torch.device) -> None:
    from alexnet.model.cuda import stage

    relu, half, window, stride, channels, towers, size, _ = case
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, size, size, towers * channels, generator=random) * 8
    bias = torch.randn(towers * channels, generator=random)
    exact_x = x.double().permute(0, 3, 1, 2).requires_grad_()
    exact_bias = bias.double().requires_grad_()
    wanted = expected(exact_x, exact_bias, case)
    g = torch.randn(wanted.shape, generator=random)
    wanted.backward(g.double())

    x, bias, g = x.to(device), bias.to(device), g.to(device)
    stages = stage.Stages(relu, half, ALPHA, K, window, stride)
    out = wanted.shape[2]
    y = torch.full((towers, 2, out, out, channels), 9.0, device=device)
    remembers = window > 1 or relu == "last"
    index = torch.empty(y.shape, dtype=torch.uint8, device=device) if remembers else None
    stage.forward(x.chunk(towers, 3), bias, list(y), index, stages)
    dx = torch.full_like(x, 9.0)
    parts = stage.bias_parts(x.chunk(towers, 3), stages)
    g_towers = g.permute(0, 2, 3, 1).chunk(towers, 3)
    stage.backward(x.chunk(towers, 3), bias, g_towers, index, dx.chunk(towers, 3), parts, stages)

    got = y.permute(1, 0, 4, 2, 3).reshape(wanted.shape).cpu().double()
    torch.testing.assert_close(got, wanted.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dx.permute(0, 3, 1, 2).cpu().double(), exact_x.grad, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(parts.sum(0).cpu().double(), exact_bias.grad, rtol=1e-5, atol=1e-4)


def test_bfloat16_is_the_rounded_result_of_float32(device: torch.device) -> None:
    from alexnet.model.cuda import stage

    x = (torch.randn(2, 9, 9, 24, device=device) * 8).bfloat16()
    stages = stage.Stages("first", 2, ALPHA, K, 3, 2)
    results = []
    for each in (x, x.float()):
        y = torch.empty(2, 4, 4, 24, dtype=each.dtype, device=device)
        index = torch.empty(2, 2, 4, 4, 12, dtype=torch.uint8, device=device)
        stage.forward(each.chunk(2, 3), None, y.chunk(2, 3), index, stages)
        results.append(y.float())
    torch.testing.assert_close(*results, rtol=2**-7, atol=0)


def test_a_value_that_is_not_a_number_stays_one(device: torch.device) -> None:
    from alexnet.model.cuda import stage

    x = torch.randn(1, 5, 5, 16, device=device)
    x[0, 2, 2, 3] = torch.nan
    y = torch.empty(1, 2, 2, 16, device=device)
    index = torch.empty(1, 1, 2, 2, 16, dtype=torch.uint8, device=device)
    stage.forward([x], None, [y], index, stage.Stages("first", 0, 0, 1, 3, 2))
    assert y[..., 3].isnan().all()
    assert not y[..., 4].isnan().any()


def test_shapes_that_do_not_fit_are_refused(device: torch.device) -> None:
    from alexnet.model.cuda import stage

    x = torch.zeros(1, 5, 5, 16, device=device)
    with pytest.raises(AssertionError):
        stage.forward([x], None, [torch.zeros(1, 5, 5, 8, device=device)], None, stage.Stages("first"))
    with pytest.raises(AssertionError):
        stage.forward([x], torch.zeros(8, device=device), [torch.zeros_like(x)], None, stage.Stages("first"))
