"""Max pooling: torch's values and gradients, with and without kernels."""

import functools
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.pooling import MaxPool2d, max_pool, output_size

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
WINDOWS = [(3, 2), (2, 2), (3, 1), (3, 3), (2, 3), (5, 2)]
SIZES = [(55, 27), (13, 8), (6, 11), (5, 5)]


def images(channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """Few different values, so that nearly every window has ties."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randint(-2, 3, (2, channels, height, width), generator=generator)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def with_gradient(function, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    g = torch.randint(-8, 9, y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)  # sums are exact
    return y.detach(), torch.autograd.grad(y, x, g)[0]


@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize(("kernel_size", "stride"), WINDOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_torchs(kernel_size: int, stride: int, ceil_mode: bool, dtype: torch.dtype):
    for channels, (height, width) in itertools.product((32, 21, 3), SIZES):
        x = images(channels, height, width, dtype)
        y, dx = with_gradient(lambda x: max_pool(x, kernel_size, stride, ceil_mode), x)
        expected, slope = with_gradient(lambda x: F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode), x)
        assert torch.equal(y, expected)
        assert torch.equal(dx, slope)


def test_output_size_is_torchs():
    for size, kernel_size, stride, ceil_mode in itertools.product(
        range(1, 14), range(1, 6), range(1, 6), (True, False)
    ):
        if kernel_size <= size:
            y = F.max_pool2d(torch.empty(1, 1, size, size), kernel_size, stride, ceil_mode=ceil_mode)
            assert output_size(size, kernel_size, stride, ceil_mode) == y.shape[2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_and_infinities_go_through_as_in_torch(dtype: torch.dtype):
    x = images(40, 9, 9, dtype)
    x[0, :5] = -torch.inf
    x[0, 5:8, 2, 3] = torch.nan
    bits = x.view(torch.int16 if dtype == torch.bfloat16 else torch.int32)
    bits[0, 30:36, 5, 2] = -1  # the other sign
    x[1, 5:20] *= -1  # with zeros below zero
    x[1, :, 4, 4] = torch.inf
    found = with_gradient(MaxPool2d(), x)
    for ours, theirs in zip(found, with_gradient(nn.MaxPool2d(3, 2, ceil_mode=True), x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_memory_layout_gives_the_same(dtype: torch.dtype):
    x = images(20, 7, 8, dtype)
    expected, slope = with_gradient(MaxPool2d(), x)
    spread = torch.zeros(2, 40, 7, 16, dtype=dtype)
    spread[:, ::2, :, ::2] = x
    for same in (x.contiguous(), spread[:, ::2, :, ::2], x.flip(2).contiguous().flip(2)):
        y, dx = with_gradient(MaxPool2d(), same)
        assert torch.equal(y, expected)
        assert torch.equal(dx, slope)


def test_everything_else_is_torchs_own(monkeypatch: pytest.MonkeyPatch):
    x = images(4, 9, 9, torch.float32)
    expected = F.max_pool2d(x, 3, 2, ceil_mode=True)
    assert torch.equal(MaxPool2d()(x.double()), expected.double())
    assert torch.equal(MaxPool2d()(x[0]), expected[0])  # one image without its batch
    assert MaxPool2d()(x.to("meta")).shape == expected.shape
    large = torch.randn(1, 2, 40, 40)  # an index in such a window does not fit into a byte
    found = with_gradient(MaxPool2d(17, 3), large)
    for ours, theirs in zip(found, with_gradient(nn.MaxPool2d(17, 3, ceil_mode=True), large), strict=True):
        assert torch.equal(ours, theirs)
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    assert torch.equal(MaxPool2d()(x), expected)


def test_compiling_and_tracing_keep_the_numbers():
    x = images(20, 9, 9, torch.float32)
    expected, slope = with_gradient(MaxPool2d(), x)
    compiled = torch.compile(MaxPool2d(), backend="aot_eager", fullgraph=True)
    for y, dx in (with_gradient(compiled, x), with_gradient(torch.fx.symbolic_trace(MaxPool2d()), x)):
        assert torch.equal(y, expected)
        assert torch.equal(dx, slope)
    torch._dynamo.reset()


@needs_kernels
def test_operator_keeps_torchs_rules():
    rules = ("test_schema", "test_autograd_registration", "test_faketensor")
    check = functools.partial(torch.library.opcheck, test_utils=rules)
    x = images(6, 7, 7, torch.float32).requires_grad_()
    check(torch.ops.alexnet.max_pool.default, (x, 3, 2, 3, 3))
    y, index = torch.ops.alexnet.max_pool.default(x.detach(), 3, 2, 3, 3)
    check(torch.ops.alexnet.max_pool_gradient.default, (y, index, 3, 2, 7, 7))


def test_export_sees_plain_operations_only():
    program = torch.export.export(MaxPool2d(), (images(20, 9, 9, torch.float32),))
    assert "alexnet" not in str(program.graph)
