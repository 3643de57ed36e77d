"""Fully connected layers: the values and gradients of `torch.nn`'s, computed at once or deferred to the update."""

import pytest
import torch
from gradients import with_gradients
from torch import nn
from torch.nn import functional as F

from alexnet.config import OptimConfig
from alexnet.model.cpu import kernels
from alexnet.model.cpu import linear as cpu
from alexnet.model.linear import Linear, defer_weight_gradients, deferred, gradient, linear, momentum_update_
from alexnet.training.update import MomentumSGD

has_onednn = kernels.has_onednn(torch.zeros(1))
needs_onednn = pytest.mark.skipif(not has_onednn, reason="no oneDNN here")
needs_bf16_kernel = pytest.mark.skipif(not kernels.has("linear", torch.bfloat16), reason="no bf16 kernels here")
needs_fp32_kernel = pytest.mark.skipif(
    not (has_onednn and kernels.has("linear_update", torch.float32)), reason="no kernels of fused multiply-adds here"
)
WITH_KERNELS = [
    pytest.param(torch.float32, marks=needs_fp32_kernel),
    pytest.param(torch.bfloat16, marks=needs_bf16_kernel),
]
SHAPES = [(16, 48, 48), (128, 1030, 97), (37, 33, 50), (67, 513, 1), (16, 1, 9)]
"""Batch, inputs, outputs: full and partial tiles of every kernel, odd numbers of bf16 values, one column."""


@needs_onednn
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_linear_in_float32(batch: int):
    layer, plain = Linear(300, 70), nn.Linear(300, 70)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(batch, 300)
    assert cpu.implementation(x, layer.weight, layer.bias) == "onednn"
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


@needs_fp32_kernel
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("batch", "inputs", "out"), SHAPES)
def test_gradients_in_float32_are_accurate(batch: int, inputs: int, out: int, threads: int):
    x, weight, g = torch.randn(batch, inputs), torch.randn(out, inputs), torch.randn(batch, out)
    assert cpu.gradient_implementation(x, torch.float32) == "kernel"
    leaves = [each.clone().requires_grad_() for each in (x, weight)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = torch.autograd.grad(linear(leaves[0], leaves[1], None), leaves, g)
    finally:
        torch.set_num_threads(before)
    for ours, exact in zip(found, (g.double() @ weight.double(), g.double().T @ x.double()), strict=True):
        assert (ours.double() - exact).abs().max() <= 2e-6 * exact.abs().max()


@needs_bf16_kernel
@pytest.mark.parametrize(("batch", "inputs", "out"), SHAPES)
def test_linear_in_bfloat16_rounds_nothing_but_its_operands(batch: int, inputs: int, out: int):
    x, weight, bias = torch.randn(batch, inputs).bfloat16(), torch.randn(out, inputs), torch.randn(out)
    g = torch.randn(batch, out).bfloat16()
    leaves = [each.clone().requires_grad_() for each in (x, weight, bias)]
    with torch.autocast("cpu", torch.bfloat16):
        assert cpu.implementation(x, weight, bias) == "kernel"
        y = linear(leaves[0], leaves[1], leaves[2])
    assert y.dtype == torch.bfloat16
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


@needs_bf16_kernel
def test_bfloat16_weights_are_left_to_pytorch():
    x, weight = torch.randn(16, 48).bfloat16(), torch.randn(8, 48).bfloat16().requires_grad_()
    assert cpu.implementation(x, weight, None) == "pytorch"
    assert torch.equal(linear(x, weight, None), F.linear(x, weight))


# ---- Deferred gradients ----


def same_layers(inputs: int, out: int) -> tuple[Linear, Linear]:
    """Two layers of the same weights; the second defers the gradient of its weights."""
    usual, deferring = Linear(inputs, out), Linear(inputs, out)
    deferring.load_state_dict(usual.state_dict())
    defer_weight_gradients(deferring)
    return usual, deferring


def backward(layer: Linear, batch: int, dtype: torch.dtype, seed: int = 0) -> list[torch.Tensor]:
    """The layer's output for noise, and the gradient of the noise."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, layer.in_features, generator=random).requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        y = layer(x)
    y.backward(torch.randn(y.shape, generator=random).to(y.dtype))
    assert x.grad is not None
    return [y.detach(), x.grad]


@pytest.mark.parametrize("dtype", WITH_KERNELS)
@pytest.mark.parametrize(("batch", "inputs", "out"), [(16, 48, 8), *SHAPES[1:]])
def test_an_update_with_a_deferred_gradient_is_that_with_the_gradient(
    dtype: torch.dtype, batch: int, inputs: int, out: int
):
    layers = same_layers(inputs, out)
    optimizers = [MomentumSGD(layer.parameters(), OptimConfig(lr=0.1)) for layer in layers]
    for step in range(3):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for ours, wanted in zip(*(backward(layer, batch, dtype, step) for layer in layers), strict=True):
            assert torch.equal(ours, wanted)
        usual, deferring = layers
        assert deferring.weight.grad is None and len(deferred(deferring.weight)) == 1
        assert not deferred(usual.weight)
        for whole in (gradient(deferring.weight), gradient(usual.weight)):
            assert whole is not None and usual.weight.grad is not None and torch.equal(whole, usual.weight.grad)
        version = deferring.weight._version
        for optimizer in optimizers:
            optimizer.step()
        assert deferring.weight._version > version  # autograd knows that it has changed
        for ours, wanted in zip(deferring.parameters(), usual.parameters(), strict=True):
            assert torch.equal(ours, wanted)
            velocities = [o.state[w]["velocity"] for o, w in zip(optimizers, (wanted, ours), strict=True)]
            assert torch.equal(*velocities) and velocities[0].any()
    optimizers[1].zero_grad()
    assert gradient(deferring.weight) is None


@pytest.mark.parametrize("dtype", WITH_KERNELS)
def test_deferred_gradients_and_a_whole_one_add_up(dtype: torch.dtype):
    usual, deferring = same_layers(40, 24)
    for batch in (32, 16, cpu.MIN_BATCH - 1):  # the last is too small to be deferred
        backward(usual, batch, dtype)
        backward(deferring, batch, dtype)
    assert len(deferred(deferring.weight)) == 2 and deferring.weight.grad is not None
    whole = gradient(deferring.weight)
    assert whole is not None and usual.weight.grad is not None
    torch.testing.assert_close(whole, usual.weight.grad, rtol=1e-5, atol=1e-4)
    start, velocity = deferring.weight.detach().clone(), torch.zeros(24, 40)
    momentum_update_(deferring.weight, velocity, 0.1, 0.9, 0.0)
    torch.testing.assert_close(velocity, -0.1 * usual.weight.grad, rtol=1e-5, atol=1e-5)
    assert torch.equal(deferring.weight, start + velocity)


@pytest.mark.parametrize("dtype", WITH_KERNELS)
def test_transposed_weights_are_updated_too(dtype: torch.dtype):
    usual, deferring = same_layers(40, 24)
    for layer in (usual, deferring):
        layer.weight.data = layer.weight.data.T.contiguous().T
        backward(layer, 32, dtype)
        momentum_update_(layer.weight, torch.zeros_like(layer.weight), 0.1, 0.9, 0.0005)
    assert deferred(deferring.weight)
    torch.testing.assert_close(deferring.weight, usual.weight)


@pytest.mark.parametrize("dtype", WITH_KERNELS)
def test_only_weights_that_learn_defer_their_gradients(dtype: torch.dtype):
    _, deferring = same_layers(40, 24)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        assert deferring(torch.randn(32, 40)).grad_fn is None
    deferring.weight.requires_grad_(False)  # a frozen layer
    backward(deferring, 32, dtype)
    assert not deferred(deferring.weight) and deferring.weight.grad is None
    assert deferring.bias.grad is not None
    plain = Linear(40, 24)
    backward(plain, 32, dtype)
    assert plain.weight.grad is not None and not deferred(plain.weight)


def test_without_kernels_no_gradient_is_deferred(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    _, deferring = same_layers(40, 24)
    backward(deferring, 32, torch.float32)
    assert deferring.weight.grad is not None and not deferred(deferring.weight)
