"""Locally connected layers: windows copied run by run give what PyTorch's unfold and float64 give, gradients too."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cpu import kernels
from alexnet.model.cpu.windows import windows
from alexnet.model.unshared import Local2d

SHAPES = [(3, (4, 5, 5), 3, 1), (5, (2, 4, 6), 2, 0), (1, (3, 3, 3), 5, 2)]


def values_and_gradients(layer: Local2d, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y = layer(x)
    slope = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y, *torch.autograd.grad(y, [x, layer.weight, layer.bias], slope)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "outputs", "size", "padding"), SHAPES)
def test_values_and_gradients_are_those_of_float64(
    channels: int, outputs: tuple[int, int, int], size: int, padding: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = Local2d(channels, outputs, size, padding)
    nn.init.normal_(layer.bias)
    height, width = (n - 2 * padding + size - 1 for n in outputs[1:])
    x = torch.randn(6, channels, height, width).contiguous(memory_format=layout)
    found = values_and_gradients(layer, x)
    expected = values_and_gradients(layer.double(), x.double())  # by F.unfold
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_windows_are_unfolds_with_the_channels_last(dtype: torch.dtype) -> None:
    x = torch.randn(3, 4, 6, 5).to(dtype).requires_grad_()
    found = windows(x, 3, 1)  # [30, 3, 36]
    expected = F.unfold(x, 3, padding=1).permute(2, 0, 1).unflatten(2, (4, 9)).transpose(2, 3).flatten(2)
    assert torch.equal(found, expected)
    slope = torch.randn(found.shape).to(dtype)
    (ours,) = torch.autograd.grad(found, x, slope)
    exact = x.detach().double().requires_grad_()
    unfolded = F.unfold(exact, 3, padding=1).permute(2, 0, 1).unflatten(2, (4, 9)).transpose(2, 3).flatten(2)
    (theirs,) = torch.autograd.grad(unfolded, exact, slope.double())
    torch.testing.assert_close(ours, theirs.to(dtype), rtol=0.01 if dtype == torch.bfloat16 else 1e-6, atol=1e-6)


def test_a_layer_under_autocast_gives_what_autocast_rounds_to() -> None:
    torch.manual_seed(0)
    layer, x = Local2d(16, (8, 6, 6), 3, 1), torch.randn(4, 16, 6, 6)
    nn.init.normal_(layer.bias)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=0.02, atol=0.02)


def test_a_compiled_layer_gives_the_same() -> None:
    layer, x = Local2d(3, (4, 5, 5), 3, 1), torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager")(x), layer(x))
