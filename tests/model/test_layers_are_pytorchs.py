"""Each layer does what PyTorch's does or refuses, whatever it is given: drawn shapes, strides, types and layouts.

`ALEXNET_LAYER_CASES=20000 pytest tests/model/test_layers_are_pytorchs.py` draws more cases of each layer.
"""

import contextlib
import os
import random
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from alexnet.model.convolution import Conv2d, ZeroPad2d
from alexnet.model.cpu import convolution as cpu
from alexnet.model.dropout import Dropout
from alexnet.model.linear import Linear
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.network import AlexNet
from alexnet.model.pooling import MaxPool2d
from alexnet.model.spatial_norm import SpatialNorm
from alexnet.model.unshared import GroupedLinear, Local2d

CASES = int(os.environ.get("ALEXNET_LAYER_CASES", "400"))
LAYERS = ("conv", "first conv", "pad", "linear", "pool")
FLOATS = (torch.float32, torch.float32, torch.bfloat16, torch.bfloat16, torch.float16, torch.float64)
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2**-6, torch.float16: 2**-8}
Choose = random.Random


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("layer", LAYERS)
def test_values_and_gradients_are_pytorchs(layer: str) -> None:
    for seed in range(CASES):
        check(layer, seed)


def check(layer: str, seed: int) -> None:
    """One drawn case: ours and PyTorch's module, with the same weights, on the same input."""
    choose = random.Random(f"{layer} {seed}")
    torch.manual_seed(seed)
    ours, theirs, shape = MODULES[layer](choose)
    theirs.load_state_dict(ours.state_dict())
    autocast = choose.choice((None, None, torch.bfloat16, torch.bfloat16, torch.float16))
    types = choose.choice(FLOATS), choose.choice(FLOATS), choose.choice(FLOATS)
    if choose.random() < 0.8:  # the usual: one type, or float32 weights under autocast
        types = (types[0], *([torch.float32] * 2 if autocast else [types[0]] * 2))
    x = laid_out(torch.randn(shape).to(types[0]), choose)
    for module in (ours, theirs):
        for (name, value), dtype in zip(list(module.named_parameters()), types[1:], strict=False):
            again = random.Random(f"{layer} {seed} {name}")
            needed = again.random() < 0.8
            setattr(module, name, nn.Parameter(laid_out(value.detach().to(dtype), again), requires_grad=needed))
    of_x = choose.random() < 0.5
    expected, found = (outcome(module, x, of_x, autocast) for module in (theirs, ours))
    about = f"{layer}, seed {seed}: {ours}, {types}, {list(x.shape)}, {x.stride()}, autocast {autocast}"
    if isinstance(expected, Exception) or isinstance(found, Exception):
        assert isinstance(found, Exception) and isinstance(expected, Exception), f"{about}: {expected!r}, {found!r}"
        return
    low = {autocast, *types} & {torch.bfloat16, torch.float16}
    if low and isinstance(ours, Conv2d) and left_to_pytorch(ours, x, autocast):
        exact = expected  # PyTorch's own now and then reads memory that nobody has written: compare no values
    else:
        exact = outcome(theirs.double(), x.double(), of_x, None)
    assert not isinstance(exact, Exception), about
    for a, b, c in zip(found, expected, exact, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), about
        if exact is not expected:
            allowed = max(TOLERANCE[t] for t in (b.dtype, *types, autocast) if t is not None)
            scale = max(1.0, float(c.abs().max())) if c.numel() else 1.0  # sums may cancel
            error = float((a.double() - c).abs().max()) if c.numel() else 0.0
            assert error <= 2 * allowed * scale, f"{about}: {error} is wrong"


def left_to_pytorch(layer: Conv2d, x: Tensor, autocast: torch.dtype | None) -> bool:
    """Whether no kernel or operator of ours computes this convolution."""
    if layer.bias is None or layer.padding_mode != "zeros" or tuple(layer.dilation) != (1, 1):
        return True
    with torch.autocast("cpu", autocast) if autocast else contextlib.nullcontext():
        form = layer.stride, layer.padding, layer.groups
        return cpu.implementation(x, layer.weight, layer.bias, *form) == "pytorch"


def outcome(module: nn.Module, x: Tensor, of_x: bool, autocast: torch.dtype | None) -> list[Tensor] | Exception:
    """The output and the gradients of what requires one, or what the module raises."""
    x = x.detach().requires_grad_(of_x)
    try:
        with torch.autocast("cpu", autocast) if autocast else contextlib.nullcontext():
            y = module(x)
        leaves = [t for t in (x, *module.parameters()) if t.requires_grad]
        g = torch.linspace(-1, 1, max(1, y.numel()))[: y.numel()].reshape(y.shape).to(y.dtype)
        return [y.detach(), *(torch.autograd.grad(y, leaves, g) if y.requires_grad else ())]
    except (RuntimeError, ValueError, NotImplementedError) as error:
        return error


def laid_out(x: Tensor, choose: Choose) -> Tensor:
    """The values of x in another memory layout."""
    how = choose.randrange(6)
    if how == 0 and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if how == 1:
        return x.repeat_interleave(2, -1)[..., ::2]
    if how == 2 and x.dim() > 1:
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if how == 3:
        return torch.cat([torch.zeros(1, dtype=x.dtype), x.flatten()])[1:].view(x.shape)  # not aligned
    if how == 4 and x.dim() > 1:
        return x[:1].expand_as(x) if len(x) else x
    return x


# ---- What is drawn ----


def conv(choose: Choose) -> tuple[nn.Module, nn.Module, Sequence[int]]:
    groups = choose.choice((1, 1, 1, 2))
    inputs = groups * choose.choice((1, 3, 4, 16))
    out = groups * choose.choice((3, 8, 16, 32))
    size = choose.choice(((3, 3), (5, 5), (1, 1), (3, 2), (2, 5)))
    stride = choose.choice((1, 1, 2, 4, (1, 2), (4, 2)))
    padding = choose.choice((0, 0, 1, 2, (0, 1), "valid", "same"))
    return twins(choose, inputs, out, size, stride, padding, groups)


def first_conv(choose: Choose) -> tuple[nn.Module, nn.Module, Sequence[int]]:
    size = choose.choice((11, 11, 8, 3, (11, 7), (7, 11), 1))
    stride = choose.choice((4, 4, 4, 4, 2, (4, 3)))
    padding = choose.choice((0, 0, 0, 0, 2))
    return twins(choose, choose.choice((3, 3, 3, 1, 4)), choose.choice((8, 16, 48, 5)), size, stride, padding, 1)


def twins(choose: Choose, inputs: int, out: int, size, stride, padding, groups: int):
    settings = {
        "dilation": choose.choice((1, 1, 1, 1, 1, 1, 2, (1, 2))),
        "groups": groups,
        "bias": choose.random() < 0.85,
        "padding_mode": choose.choice(("zeros", "zeros", "zeros", "zeros", "reflect", "circular")),
    }
    if padding == "same":
        stride = 1
    given = inputs if choose.random() < 0.95 else choose.choice((1, 3, 4))
    shape = [*some_images(choose), given, choose.randrange(1, 30), choose.randrange(1, 30)]
    if choose.random() < 0.05:
        shape = shape[1:]
    form = (inputs, out, size, stride, padding)
    return Conv2d(*form, **settings), nn.Conv2d(*form, **settings), shape


def some_images(choose: Choose) -> list[int]:
    return [choose.choice((0, 1, 2, 2, 3))]


def pad(choose: Choose):
    padding = choose.choice(((0, 3, 0, 3), (0, 0, 0, 2), (0, 5, 0, 0), (1, 2, 0, 0), (0, -1, 0, 1), 2))
    shape = [*some_images(choose), choose.randrange(1, 5), choose.randrange(1, 20), choose.randrange(1, 20)]
    return ZeroPad2d(padding), nn.ZeroPad2d(padding), shape[choose.random() < 0.1 :]


def linear(choose: Choose):
    inputs, out, bias = choose.choice((1, 7, 16, 33, 64)), choose.choice((1, 5, 16, 47)), choose.random() < 0.8
    given = inputs if choose.random() < 0.95 else inputs + 1
    shape = choose.choice(
        ([choose.choice((0, 1, 2, 16, 17, 40)), given],) * 8 + ([given], [2, 3, given], [17, 0, given])
    )
    return Linear(inputs, out, bias), nn.Linear(inputs, out, bias), shape


def pool(choose: Choose):
    size, stride, ceil_mode = choose.choice((1, 2, 3, 3, 5, 17)), choose.choice((1, 2, 2, 3, 7)), choose.random() < 0.5
    shape = [*some_images(choose), choose.choice((1, 3, 16, 21)), choose.randrange(1, 24), choose.randrange(1, 24)]
    ours = MaxPool2d(size, stride, ceil_mode=ceil_mode)
    return ours, nn.MaxPool2d(size, stride, ceil_mode=ceil_mode), shape[choose.random() < 0.1 :]


MODULES: dict[str, Callable] = {"conv": conv, "first conv": first_conv, "pad": pad, "linear": linear, "pool": pool}


# ---- Layers that PyTorch lacks, and what all of ours refuse ----


def test_normalisation_takes_empty_batches_and_any_type_and_refuses_other_shapes() -> None:
    for norm in (LocalResponseNorm(), SpatialNorm()):
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            x = torch.randn(2, 8, 5, 6).to(dtype)
            assert norm(x[:0]).shape == (0, 8, 5, 6)
            tolerance = 2 * TOLERANCE[dtype]
            torch.testing.assert_close(norm(x).double(), norm(x.double()), rtol=tolerance, atol=tolerance)
        for shape in ((8, 5, 6), (2, 8, 5), (1, 2, 8, 5, 6)):
            with pytest.raises(ValueError, match=r"takes \[B, C, H, W\], not"):
                norm(torch.randn(shape))


def test_layers_without_sharing_refuse_inputs_of_another_shape() -> None:
    local, grouped = Local2d(3, (4, 6, 6), kernel_size=3, padding=1), GroupedLinear(6, 4, 2)
    assert local(torch.randn(0, 3, 6, 6)).shape == (0, 4, 6, 6)
    assert grouped(torch.randn(0, 6)).shape == (0, 4)
    for shape in ((2, 3, 4, 9), (2, 4, 6, 6), (3, 6, 6)):
        with pytest.raises(ValueError, match=r"takes \[B, 3, 6, 6\], not"):
            local(torch.randn(shape))
    for shape in ((2, 8), (6,), (2, 3, 6)):
        with pytest.raises(ValueError, match=r"takes \[B, 6\], not"):
            grouped(torch.randn(shape))
    with pytest.raises(ValueError, match="do not divide into 4 groups"):
        GroupedLinear(6, 8, 4)


@pytest.mark.parametrize("window", [((3, 2), 2), (3, (2, 1)), (0, 1), (3, 0), (3, None)])
def test_pooling_refuses_windows_that_are_not_square(window) -> None:
    with pytest.raises(ValueError, match="MaxPool2d takes one whole number"):
        MaxPool2d(*window)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_dropout_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and less than 1"):
        Dropout(p)


@pytest.mark.parametrize("channels", [1, 4])
def test_the_network_refuses_images_of_other_channels(channels: int) -> None:
    network, x = AlexNet(width=0.05, classes=10), torch.randn(2, channels, 224, 224)
    for call in (lambda: network(x), lambda: network(x=x)):
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match=r"takes \[B, 3, 224, 224\]"):
            call()


DIFFERENTIABLE = {
    "linear": (lambda: Linear(6, 4), (20, 6)),
    "conv": (lambda: Conv2d(3, 4, 3), (2, 3, 6, 6)),
    "pool": (lambda: MaxPool2d(), (2, 3, 6, 6)),
    "lrn": (lambda: LocalResponseNorm(groups=1), (2, 3, 6, 6)),
    "spatial norm": (lambda: SpatialNorm(), (2, 3, 6, 6)),
    "pad": (lambda: ZeroPad2d((0, 1, 0, 1)), (2, 3, 6, 6)),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_derivatives_are_right_or_refused(name: str) -> None:
    make, shape = DIFFERENTIABLE[name]
    module, x = make(), torch.randn(shape, requires_grad=True)
    try:
        (g,) = torch.autograd.grad((module(x) ** 3).sum(), x, create_graph=True)
    except RuntimeError as error:
        refusal = str(error)
    else:
        (found,) = torch.autograd.grad(g.square().sum(), x)
        refusal = ""
    if refusal:
        assert "has no second derivative (create_graph=True)" in refusal
        return
    exact = x.detach().double().requires_grad_()
    (g,) = torch.autograd.grad((module.double()(exact) ** 3).sum(), exact, create_graph=True)
    torch.testing.assert_close(found.double(), torch.autograd.grad(g.square().sum(), exact)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_mode_derivatives_are_pytorchs(name: str) -> None:
    make, shape = DIFFERENTIABLE[name]
    module, x = make(), torch.randn(shape)
    _, found = torch.func.jvp(module, (x,), (torch.ones_like(x),))  # type: ignore[misc]
    _, exact = torch.func.jvp(module.double(), (x.double(),), (torch.ones(shape, dtype=torch.float64),))  # type: ignore[misc]
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)
