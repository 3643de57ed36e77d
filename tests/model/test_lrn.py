"""Local response normalisation: the paper's formula, in plain operations and in the compiled kernels."""

import functools

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from alexnet.model.cpu import kernels
from alexnet.model.lrn import LocalResponseNorm, local_response_norm, lrn_plain

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")

# Channels, towers, window: the network's own, towers of any width (even less than the window), other windows.
SHAPES = [
    (96, 2, 5),
    (256, 2, 5),
    (34, 2, 5),
    (6, 2, 5),
    (5, 1, 5),
    (1, 1, 5),
    (60, 3, 3),
    (140, 1, 9),
    (8, 2, 1),
]


def by_the_formula(x: Tensor, size: int, alpha: float, beta: float, k: float, groups: int) -> Tensor:
    """Channel by channel in float64, as section 3.3 is written."""
    x = x.double()
    channels = x.shape[1]
    tower = channels // groups
    y = torch.empty_like(x)
    for i in range(channels):
        first = max(i // tower * tower, i - size // 2)
        last = min((i // tower + 1) * tower - 1, i + (size - 1) // 2)
        total = sum((x[:, j] ** 2 for j in range(first, last + 1)), torch.zeros_like(x[:, 0]))
        y[:, i] = x[:, i] * (k + alpha * total) ** -beta
    return y


def images(channels: int, dtype: torch.dtype = torch.float32, height: int = 3, width: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(2, channels, height, width, generator=generator) * 40
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def with_gradient(function, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    y = function(x)
    return y.detach(), torch.autograd.grad(y, x, g)[0]


@pytest.mark.parametrize(("channels", "groups", "size"), [*SHAPES, (12, 2, 4)])
def test_plain_form_is_the_papers_formula(channels: int, groups: int, size: int):
    x = images(channels, torch.float64)
    for alpha, beta, k in [(1e-4, 0.75, 2.0), (3e-3, 0.5, 1.0)]:
        expected = by_the_formula(x, size, alpha, beta, k, groups)
        torch.testing.assert_close(lrn_plain(x, size, alpha, beta, k, groups), expected, rtol=1e-12, atol=0)


def test_plain_form_has_the_right_gradient():
    x = images(10, torch.float64, height=1, width=2).div(10).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: lrn_plain(x, 5, 0.1, 0.75, 2.0, 2), x)


@needs_kernels
@pytest.mark.parametrize(("channels", "groups", "size"), SHAPES)
@pytest.mark.parametrize("alpha", [1e-4, 2e-5, 0.05])
def test_kernels_equal_the_formula_in_float32(channels: int, groups: int, size: int, alpha: float):
    x = images(channels)
    g = torch.randn_like(x)
    y, dx = with_gradient(lambda x: local_response_norm(x, size, alpha, 0.75, 2.0, groups), x, g)
    expected, slope = with_gradient(lambda x: lrn_plain(x, size, alpha, 0.75, 2.0, groups), x.double(), g.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(dx.double(), slope, rtol=1e-6, atol=1e-6 * float(slope.abs().max()))


@needs_kernels
@pytest.mark.parametrize(("channels", "groups", "size"), SHAPES)
def test_kernels_round_bfloat16_once(channels: int, groups: int, size: int):
    x = images(channels, torch.bfloat16)
    g = torch.randn_like(x)
    y, dx = with_gradient(lambda x: local_response_norm(x, size, 1e-4, 0.75, 2.0, groups), x, g)
    expected, slope = with_gradient(lambda x: lrn_plain(x, size, 1e-4, 0.75, 2.0, groups), x.double(), g.double())
    half_a_step = 2**-8 * 1.001  # of a number just above a power of two
    assert y.dtype == dx.dtype == torch.bfloat16
    assert ((y.double() - expected).abs() <= half_a_step * expected.abs()).all()
    assert ((dx.double() - slope).abs() <= half_a_step * slope.abs() + 1e-6 * slope.abs().max()).all()


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_memory_layout_gives_the_same(dtype: torch.dtype):
    x = images(20, dtype, height=4, width=6)
    g = torch.randn_like(x)
    expected, slope = with_gradient(lambda x: local_response_norm(x, 5, 1e-4, 0.75, 2.0, 2), x, g)

    def spread(t: Tensor) -> Tensor:
        wide = torch.zeros(2, 40, 8, 6, dtype=dtype)
        wide[:, ::2, ::2] = t
        return wide[:, ::2, ::2]

    for change in (lambda t: t.contiguous(), spread, lambda t: t.flip(3).contiguous().flip(3)):
        y, dx = with_gradient(lambda x: local_response_norm(x, 5, 1e-4, 0.75, 2.0, 2), change(x), change(g))
        assert torch.equal(y, expected)
        assert torch.equal(dx, slope)
    row = x[:, :, :1]
    assert torch.equal(local_response_norm(row, 5, 1e-4, 0.75, 2.0, 2), expected[:, :, :1])
    turned = local_response_norm(x.transpose(2, 3), 5, 1e-4, 0.75, 2.0, 2)
    assert torch.equal(turned.transpose(2, 3), expected)


@needs_kernels
def test_number_of_threads_does_not_change_the_numbers():
    x = images(96, height=7, width=9)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(with_gradient(LocalResponseNorm(), x, torch.ones_like(x)))
    finally:
        torch.set_num_threads(threads)
    for y, dx in results:
        assert torch.equal(y, results[0][0])
        assert torch.equal(dx, results[0][1])


def test_towers_do_not_see_each_other():
    x = images(96)
    left, right = x.chunk(2, dim=1)
    norm = LocalResponseNorm(groups=1)
    assert torch.equal(LocalResponseNorm(groups=2)(x), torch.cat([norm(left), norm(right)], 1))
    assert not torch.equal(LocalResponseNorm(groups=1)(x), LocalResponseNorm(groups=2)(x))


def test_torchs_module_divides_alpha_by_the_window_and_knows_no_towers():
    x = images(32)
    torch.testing.assert_close(
        LocalResponseNorm(5, alpha=2e-5, groups=1)(x),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(x),
    )


@pytest.mark.parametrize(("size", "beta"), [(5, 0.75), (3, 0.75), (3, 0.5)])
def test_equals_onnx_reference(size: int, beta: float):
    # As many images as channels: the reference mistakes one number for the other.
    x = np.random.default_rng(0).normal(scale=9, size=(7, 7, 4, 3)).astype(np.float32)
    node = onnx.helper.make_node("LRN", ["x"], ["y"], size=size, alpha=5e-3, beta=beta, bias=2.0)
    (expected,) = ReferenceEvaluator(node).run(None, {"x": x})
    y = LocalResponseNorm(size, alpha=5e-3 / size, beta=beta, k=2.0, groups=1)(torch.from_numpy(x))
    np.testing.assert_allclose(y.numpy(), np.asarray(expected), rtol=1e-6)


def test_everything_else_runs_in_plain_form(monkeypatch: pytest.MonkeyPatch):
    x = images(20)
    expected = lrn_plain(x, 5, 1e-4, 0.75, 2.0, 2)
    torch.testing.assert_close(LocalResponseNorm()(x), expected, rtol=1e-6, atol=0)
    assert torch.equal(LocalResponseNorm(beta=0.5)(x), lrn_plain(x, 5, 1e-4, 0.5, 2.0, 2))
    assert LocalResponseNorm()(x.double()).dtype == torch.float64
    assert LocalResponseNorm()(x.to("meta")).shape == x.shape
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    assert torch.equal(LocalResponseNorm()(x), expected)


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="9 channels do not divide into 2 towers"):
        LocalResponseNorm()(images(9))


EXACT = 0 if hasattr(torch.compiler, "is_exporting") else 1e-5  # torch 2.6 compiles the plain operations instead


def test_compiling_and_tracing_keep_the_numbers():
    x = images(20)
    norm = LocalResponseNorm()
    expected, slope = with_gradient(norm, x, x)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True)
    for y, dx in (with_gradient(compiled, x, x), with_gradient(torch.fx.symbolic_trace(norm), x, x)):
        torch.testing.assert_close(y, expected, rtol=EXACT, atol=EXACT)
        torch.testing.assert_close(dx, slope, rtol=EXACT, atol=EXACT)
    torch._dynamo.reset()


@needs_kernels
def test_operator_keeps_torchs_rules():
    rules = ("test_schema", "test_autograd_registration", "test_faketensor")
    check = functools.partial(torch.library.opcheck, test_utils=rules)
    x = images(6).requires_grad_()
    check(torch.ops.alexnet.lrn.default, (x, 5, 1e-4, 2.0, 2, True))
    check(torch.ops.alexnet.lrn_gradient.default, (x.detach(), x.detach().contiguous(), 5, 1e-4, 2.0, 2, False))


def test_export_sees_plain_operations_only():
    program = torch.export.export(LocalResponseNorm(), (images(20),))
    assert "alexnet" not in str(program.graph)
