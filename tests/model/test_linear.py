"""Fully connected layers: the values and gradients of `torch.nn`'s, whole and in factors."""

import pytest
import torch
from gradients import names, with_gradients
from torch import nn
from torch.nn import functional as F

from alexnet.config import OptimConfig
from alexnet.model.cpu import kernels
from alexnet.model.linear import FEWEST, Linear, factors, gradient, keep_factors, linear, momentum_update_
from alexnet.training.update import MomentumSGD

needs_onednn = pytest.mark.skipif(not kernels.has_onednn(torch.zeros(1)), reason="no oneDNN here")


@needs_onednn
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_linear_in_float32(batch: int):
    layer, plain = Linear(300, 70), nn.Linear(300, 70)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(batch, 300)
    assert any("alexnet" in name for name in names(layer(x)))
    ours = with_gradients(lambda x, w, b: linear(x, w, b), x, layer.weight, layer.bias)
    wanted = with_gradients(F.linear, x.double(), plain.weight.double(), plain.bias.double())
    for found, expected in zip(ours, wanted, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(layer(x).detach(), ours[0])


@needs_onednn
def test_linear_takes_any_strides():
    layer, x = Linear(6, 4), torch.randn(3, 12)
    spread = x[:, ::2].requires_grad_()
    (slope,) = torch.autograd.grad(layer(spread).sum(), spread)
    torch.testing.assert_close(layer(spread), F.linear(spread, layer.weight, layer.bias))
    torch.testing.assert_close(slope, layer.weight.sum(0).expand(3, 6))


@pytest.mark.skipif(not kernels.has_pairs(), reason="a processor without products of bfloat16 pairs")
@pytest.mark.parametrize(
    ("batch", "inputs", "out"), [(16, 48, 48), (128, 1030, 97), (37, 33, 50), (67, 513, 1), (16, 1, 9)]
)
def test_full_connections_in_bfloat16_round_nothing_but_their_factors(batch: int, inputs: int, out: int):
    x, weight, bias = torch.randn(batch, inputs).bfloat16(), torch.randn(out, inputs), torch.randn(out)
    g = torch.randn(batch, out).bfloat16()
    leaves = [each.clone().requires_grad_() for each in (x, weight, bias)]
    with torch.autocast("cpu", torch.bfloat16):
        y = linear(leaves[0], leaves[1], leaves[2])
    assert "alexnet_full" in repr(names(y)) and y.dtype == torch.bfloat16
    found = [y.detach(), *torch.autograd.grad(y, leaves, g)]
    rounded = weight.bfloat16().double()
    wanted = [
        x.double() @ rounded.T + bias.double(),
        g.double() @ rounded,
        g.double().T @ x.double(),
        g.double().sum(0),
    ]
    for ours, exact, allowed in zip(found, wanted, (2**-8, 2**-8, 2e-6, 2e-6), strict=True):
        assert ours.shape == exact.shape
        assert (ours.double() - exact).abs().max() <= allowed * exact.abs().max()
    assert [each.dtype for each in found[1:]] == [torch.bfloat16, torch.float32, torch.float32]
    (only,) = torch.autograd.grad(linear(leaves[0], leaves[1].bfloat16(), None).sum(), leaves[1])
    assert only.shape == weight.shape  # other types go to torch


# ---- Gradients in factors ----

FORMS = [
    pytest.param(
        torch.float32,
        marks=pytest.mark.skipif(
            not kernels.has_vectors() or not kernels.has_onednn(torch.zeros(1)),
            reason="no kernels for vectors of 512 bits",
        ),
    ),
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(not kernels.has_pairs(), reason="a processor without products of bfloat16 pairs"),
    ),
]


def two_alike(inputs: int, out: int) -> tuple[Linear, Linear]:
    """Two layers of the same weights, of which the second keeps factors."""
    whole, kept = Linear(inputs, out), Linear(inputs, out)
    kept.load_state_dict(whole.state_dict())
    keep_factors(kept)
    return whole, kept


def backward(layer: Linear, batch: int, dtype: torch.dtype, seed: int = 0) -> list[torch.Tensor]:
    """What the layer makes of noise, and its gradient."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, layer.in_features, generator=random).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = layer(x)
    y.backward(torch.randn(y.shape, generator=random).to(y.dtype))
    assert x.grad is not None
    return [y.detach(), x.grad]


@pytest.mark.parametrize("dtype", FORMS)
@pytest.mark.parametrize(
    ("batch", "inputs", "out"), [(16, 48, 8), (128, 1030, 97), (37, 33, 50), (67, 513, 1), (16, 1, 9)]
)
def test_an_update_with_factors_is_that_with_the_gradient(dtype: torch.dtype, batch: int, inputs: int, out: int):
    layers = two_alike(inputs, out)
    optimizers = [MomentumSGD(layer.parameters(), OptimConfig(lr=0.1)) for layer in layers]
    for step in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for ours, wanted in zip(*(backward(layer, batch, dtype, step) for layer in layers), strict=True):
            assert torch.equal(ours, wanted)
        whole, kept = layers
        assert kept.weight.grad is None and len(factors(kept.weight)) == 1
        assert not factors(whole.weight)
        for left in (gradient(kept.weight), gradient(whole.weight)):
            assert left is not None and whole.weight.grad is not None and torch.equal(left, whole.weight.grad)
        version = kept.weight._version
        for optimizer in optimizers:
            optimizer.step()
        assert kept.weight._version > version  # autograd knows that it has changed
        for ours, wanted in zip(kept.parameters(), whole.parameters(), strict=True):
            assert torch.equal(ours, wanted)
            velocities = [o.state[w]["velocity"] for o, w in zip(optimizers, (wanted, ours), strict=True)]
            assert torch.equal(*velocities) and velocities[0].any()
    optimizers[1].zero_grad()
    assert gradient(kept.weight) is None


@pytest.mark.parametrize("dtype", FORMS)
def test_factors_of_several_backward_passes_and_a_gradient_add_up(dtype: torch.dtype):
    whole, kept = two_alike(40, 24)
    for batch in (32, 16, FEWEST - 1):  # the last too few for factors
        backward(whole, batch, dtype)
        backward(kept, batch, dtype)
    assert len(factors(kept.weight)) == 2 and kept.weight.grad is not None
    left = gradient(kept.weight)
    assert left is not None and whole.weight.grad is not None
    torch.testing.assert_close(left, whole.weight.grad, rtol=1e-5, atol=1e-4)
    start, velocity = kept.weight.detach().clone(), torch.zeros(24, 40)
    momentum_update_(kept.weight, velocity, 0.1, 0.9, 0.0)
    torch.testing.assert_close(velocity, -0.1 * whole.weight.grad, rtol=1e-5, atol=1e-5)
    assert torch.equal(kept.weight, start + velocity)


@pytest.mark.parametrize("dtype", FORMS)
def test_weights_that_do_not_lie_row_by_row_are_updated_too(dtype: torch.dtype):
    whole, kept = two_alike(40, 24)
    for layer in (whole, kept):
        layer.weight.data = layer.weight.data.T.contiguous().T
        backward(layer, 32, dtype)
        momentum_update_(layer.weight, torch.zeros_like(layer.weight), 0.1, 0.9, 0.0005)
    assert factors(kept.weight)
    torch.testing.assert_close(kept.weight, whole.weight)


@pytest.mark.parametrize("dtype", FORMS)
def test_only_training_keeps_factors(dtype: torch.dtype):
    _, kept = two_alike(40, 24)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        assert kept(torch.randn(32, 40)).grad_fn is None
    kept.weight.requires_grad_(False)  # a frozen layer
    backward(kept, 32, dtype)
    assert not factors(kept.weight) and kept.weight.grad is None
    assert kept.bias.grad is not None
    plain = Linear(40, 24)
    backward(plain, 32, dtype)
    assert plain.weight.grad is not None and not factors(plain.weight)


def test_without_kernels_gradients_are_whole(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    _, kept = two_alike(40, 24)
    backward(kept, 32, torch.float32)
    assert kept.weight.grad is not None and not factors(kept.weight)
