"""Normalisation within each map: the original program's formula, in plain operations and in the compiled kernels."""

import functools

import pytest
import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.spatial_norm import SpatialNorm, spatial_norm, spatial_norm_plain

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")

# Channels, height, width, window: the network's own, maps smaller than the window, channels of any number.
SHAPES = [(256, 27, 27, 5), (3, 7, 9, 5), (70, 2, 3, 5), (64, 1, 1, 5), (16, 6, 11, 3), (5, 4, 4, 9), (2, 3, 3, 1)]


def by_the_formula(x: Tensor, size: int, alpha: float, beta: float) -> Tensor:
    """Pixel by pixel in float64."""
    x = x.double()
    height, width = x.shape[2:]
    y, before, after = torch.empty_like(x), size // 2, (size - 1) // 2
    for h in range(height):
        for w in range(width):
            window = x[:, :, max(h - before, 0) : h + after + 1, max(w - before, 0) : w + after + 1]
            scale = 1 + alpha / size**2 * window.square().sum((2, 3))
            y[:, :, h, w] = x[:, :, h, w] * scale**-beta
    return y


def images(channels: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(2, channels, height, width, generator=generator) * 40
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def with_gradient(function, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y, x, g)[0]


@pytest.mark.parametrize(("channels", "height", "width", "size"), [*SHAPES[1:], (4, 6, 7, 4)])
def test_plain_form_is_the_formula(channels: int, height: int, width: int, size: int):
    x = images(channels, height, width, torch.float64)
    for alpha, beta in [(1e-3, 0.75), (0.2, 0.5)]:
        expected = by_the_formula(x, size, alpha, beta)
        torch.testing.assert_close(spatial_norm_plain(x, size, alpha, beta), expected, rtol=1e-12, atol=0)


def test_defaults_are_the_originals():
    x = images(2, 6, 6)
    torch.testing.assert_close(SpatialNorm()(x).double(), by_the_formula(x, 5, 1e-3, 0.75), rtol=1e-6, atol=0)


def test_plain_form_has_the_right_gradient():
    x = images(2, 4, 6, torch.float64).div(10).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: spatial_norm_plain(x, 5, 0.1, 0.75), x)


@needs_kernels
@pytest.mark.parametrize(("channels", "height", "width", "size"), SHAPES)
@pytest.mark.parametrize("alpha", [1e-3, 0.05])
def test_kernels_equal_the_plain_form_in_float32(channels: int, height: int, width: int, size: int, alpha: float):
    x = images(channels, height, width)
    g = torch.randn_like(x)
    y, dx = with_gradient(lambda x: spatial_norm(x, size, alpha, 0.75), x, g)
    expected, slope = with_gradient(lambda x: spatial_norm_plain(x, size, alpha, 0.75), x.double(), g.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(dx.double(), slope, rtol=1e-6, atol=1e-6 * float(slope.abs().max()))


@needs_kernels
@pytest.mark.parametrize(("channels", "height", "width", "size"), SHAPES)
def test_kernels_round_bfloat16_once(channels: int, height: int, width: int, size: int):
    x = images(channels, height, width, torch.bfloat16)
    g = torch.randn_like(x)
    y, dx = with_gradient(lambda x: spatial_norm(x, size, 1e-3, 0.75), x, g)
    expected, slope = with_gradient(lambda x: spatial_norm_plain(x, size, 1e-3, 0.75), x.double(), g.double())
    half_a_step = 2**-8 * 1.001
    assert y.dtype == dx.dtype == torch.bfloat16
    assert ((y.double() - expected).abs() <= half_a_step * expected.abs()).all()
    assert ((dx.double() - slope).abs() <= half_a_step * slope.abs() + 1e-6 * slope.abs().max()).all()


@needs_kernels
def test_layout_and_number_of_threads_do_not_change_the_numbers():
    x = images(70, 7, 9)
    g = torch.randn_like(x)
    expected, slope = with_gradient(SpatialNorm(), x, g)
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            for change in (lambda t: t, lambda t: t.contiguous(), lambda t: t.flip(3).contiguous().flip(3)):
                y, dx = with_gradient(SpatialNorm(), change(x), change(g))
                assert torch.equal(y, expected)
                assert torch.equal(dx, slope)
    finally:
        torch.set_num_threads(threads)


def test_everything_else_runs_in_plain_form(monkeypatch: pytest.MonkeyPatch):
    x = images(20, 6, 7)
    expected = spatial_norm_plain(x, 5, 1e-3, 0.75)
    torch.testing.assert_close(SpatialNorm()(x), expected, rtol=1e-6, atol=0)
    assert torch.equal(SpatialNorm(beta=0.5)(x), spatial_norm_plain(x, 5, 1e-3, 0.5))
    assert SpatialNorm()(x.double()).dtype == torch.float64
    assert SpatialNorm()(x.to("meta")).shape == x.shape
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    assert torch.equal(SpatialNorm()(x), expected)


def test_compiling_and_tracing_keep_the_numbers():
    x = images(20, 6, 7)
    norm = SpatialNorm()
    expected, slope = with_gradient(norm, x, x)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True)
    for y, dx in (with_gradient(compiled, x, x), with_gradient(torch.fx.symbolic_trace(norm), x, x)):
        torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-4)  # torch 2.6 compiles the plain form
        torch.testing.assert_close(dx, slope, rtol=1e-6, atol=1e-4)
    torch._dynamo.reset()


@needs_kernels
def test_operator_keeps_torchs_rules():
    rules = ("test_schema", "test_autograd_registration", "test_faketensor")
    check = functools.partial(torch.library.opcheck, test_utils=rules)
    x = images(6, 7, 7).requires_grad_()
    check(torch.ops.alexnet.spatial_norm.default, (x, 5, 1e-3))
    check(torch.ops.alexnet.spatial_norm_gradient.default, (x.detach(), x.detach().contiguous(), 5, 1e-3))


def test_export_sees_plain_operations_only():
    program = torch.export.export(SpatialNorm(), (images(20, 6, 7),))
    assert "alexnet" not in str(program.graph)
