"""Convolutions: the values and gradients of `torch.nn`'s."""

import functools

import pytest
import torch
from gradients import with_gradients
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.convolution import Conv2d, ZeroPad2d, conv2d
from alexnet.model.cpu import convolution as cpu
from alexnet.model.cpu import kernels
from alexnet.model.linear import Linear, linear

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
needs_onednn = pytest.mark.skipif(not kernels.has_onednn(torch.zeros(1)), reason="no oneDNN here")

# In, out, kernel size, stride, padding, groups, height and width of the image.
CONVOLUTIONS = [
    (3, 48, 11, 4, 0, 1, 67, 71),  # conv1
    (3, 40, 11, 4, 0, 1, 11, 14),  # a single output
    (3, 8, 5, 1, 2, 1, 9, 8),
    (8, 16, 5, 1, 2, 2, 9, 7),
    (16, 24, 3, 1, 1, 1, 6, 6),
]


@needs_onednn
@pytest.mark.parametrize(("inputs", "out", "size", "stride", "padding", "groups", "height", "width"), CONVOLUTIONS)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_convolution_in_float32(inputs, out, size, stride, padding, groups, height, width, layout):
    layer = Conv2d(inputs, out, size, stride, padding, groups=groups).to(memory_format=layout)
    assert layer.bias is not None
    x = torch.randn(3, inputs, height, width).contiguous(memory_format=layout)
    settings = (layer.stride, layer.padding, groups)
    assert cpu.implementation(x, layer.weight, layer.bias, *settings) == "onednn"
    ours = with_gradients(lambda x, w, b: conv2d(x, w, b, *settings), x, layer.weight, layer.bias)
    wanted = with_gradients(
        lambda x, w, b: F.conv2d(x, w, b, stride, padding, 1, groups),
        *(t.double() for t in (x, layer.weight, layer.bias)),
    )
    for found, expected in zip(ours, wanted, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(layer(x), F.conv2d(x, layer.weight, layer.bias, stride, padding, 1, groups))
    first = torch.autograd.grad(layer(x).sum(), list(layer.parameters()))  # no gradient of x
    assert torch.allclose(first[1], torch.full((out,), float(layer(x)[:, 0].numel())))


@needs_onednn
@pytest.mark.parametrize(
    ("channels", "out", "size", "stride"),
    [(3, 96, 11, 4), (3, 48, 11, 4), (3, 80, 11, 4), (1, 16, 5, 2), (3, 24, 11, 4), (3, 5, 5, 1), (2, 20, 7, 3)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_the_first_convolution_are_accurate(
    channels: int, out: int, size: int, stride: int, dtype: torch.dtype
):
    x = torch.randn(7, channels, 3 * size, 4 * size).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(out, channels, size, size).contiguous(memory_format=torch.channels_last)
    if cpu.weight_gradient_kernel(x, weight, (stride,) * 2, (0, 0), 1, dtype) != "conv1_gradient":
        pytest.skip(f"no kernel in {dtype} here")
    g = torch.randn_like(F.conv2d(x.float(), weight, stride=stride)).to(dtype)
    found = torch.ops.alexnet.conv2d_gradient(x, weight, g, [stride] * 2, [0, 0], 1, False)
    form = ([out], [stride] * 2, [0, 0], [1, 1], False, [0, 0], 1, [False, True, True])
    wanted = torch.ops.aten.convolution_backward(g.double(), x.double(), weight.double(), *form)[1:]
    for ours, exact in zip(found, wanted, strict=True):
        assert (ours.double() - exact).abs().max() < 2e-6 * exact.abs().max()


# Out, kernel size, height and width of the image.
FIRST = [
    (16, 11, 67, 71),
    (8, 11, 11, 14),  # a single output
    (8, 8, 19, 20),  # a kernel of whole blocks
    (24, 11, 115, 115),
    (5, 11, 43, 61),
    (96, 11, 61, 63),
]


@needs_kernels
@pytest.mark.parametrize(("out", "size", "height", "width"), FIRST)
@pytest.mark.parametrize("how", ["conv1", "space-to-depth"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_first_convolution(out, size, height, width, how, dtype):
    layer = Conv2d(3, out, size, 4)
    assert layer.bias is not None
    x = torch.randn(2, 3, height, width).to(dtype)
    weights = [layer.weight.to(dtype).float(), layer.bias.to(dtype).float()]
    if how == "conv1" and not kernels.has("conv1", dtype):
        pytest.skip("no fused multiply-adds, or no dot products of bf16 pairs, here")
    if how == "space-to-depth" and dtype != torch.bfloat16:
        pytest.skip("for bfloat16")
    with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
        best = cpu.implementation(x, layer.weight, layer.bias, layer.stride, (0, 0), 1)
    if kernels.has("conv1", dtype) and (dtype == torch.bfloat16 or out <= cpu.CONV1_FLOAT32_OUT):
        assert best == "conv1"
    else:
        assert best == ("space-to-depth" if dtype == torch.bfloat16 else "onednn")
    wanted = with_gradients(lambda w, b: F.conv2d(x.double(), w.double(), b.double(), 4), *weights)

    def function(w: Tensor, b: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            return cpu.conv2d(x.float(), w, b, layer.stride, (0, 0), 1, how)

    ours = with_gradients(function, *weights)
    assert ours[0].dtype == dtype
    rounded = 2**-7 if dtype == torch.bfloat16 else 4e-6
    for found, expected in zip(ours, wanted, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found.double(), expected.double(), rtol=rounded, atol=rounded * scale)


@needs_kernels
def test_first_convolution_with_bfloat16_weights():
    x, weight, bias = (torch.randn(shape).bfloat16() for shape in ((2, 3, 67, 71), (16, 3, 11, 11), (16,)))
    assert cpu.implementation(x, weight, bias, (4, 4), (0, 0), 1) == "space-to-depth"
    found = conv2d(x, weight, bias, (4, 4), (0, 0), 1)
    expected = F.conv2d(x.float(), weight.float(), bias.float(), 4)
    torch.testing.assert_close(found.float(), expected, rtol=2**-7, atol=2**-7 * float(expected.abs().max()))


@pytest.mark.parametrize("padding", [(0, 3, 0, 3), (0, 0, 0, 2), (0, 5, 0, 0), (1, 2, 0, 0), (0, -1, 0, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_is_pytorchs(padding: tuple[int, int, int, int], dtype: torch.dtype):
    x = torch.randn(2, 3, 9, 14).to(dtype)
    for images in (x, x.contiguous(memory_format=torch.channels_last), x[:, :, 1:, ::2]):
        assert torch.equal(ZeroPad2d(padding)(images), F.pad(images, padding))
    (slope,) = torch.autograd.grad(ZeroPad2d(padding)(x.requires_grad_()).sum(), x)
    assert torch.equal(slope, torch.autograd.grad(F.pad(x, padding).sum(), x)[0])


@needs_kernels
def test_which_convolutions_are_a_first_layer():
    images, weight = torch.zeros(1, 3, 20, 20), torch.zeros(4, 3, 11, 11)
    assert cpu.is_first_layer(images, weight, (4, 4), (0, 0), 1)
    assert not cpu.is_first_layer(images, weight, (4, 4), (2, 2), 1)
    assert not cpu.is_first_layer(images, weight, (2, 2), (0, 0), 1)
    assert not cpu.is_first_layer(images.requires_grad_(), weight, (4, 4), (0, 0), 1)
    assert not cpu.is_first_layer(torch.zeros(1, 8, 20, 20), torch.zeros(4, 8, 11, 11), (4, 4), (0, 0), 1)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("side", "height", "width"), [(4, 3, 4), (4, 5, 5), (2, 1, 1), (3, 4, 2)])
def test_space_to_depth_makes_channels_of_pixels(dtype: torch.dtype, side: int, height: int, width: int):
    x = torch.randn(2, 3, 10, 13)
    padded = torch.zeros(2, 3, side * height, side * width)
    h, w = min(10, side * height), min(13, side * width)
    padded[:, :, :h, :w] = x[:, :, :h, :w]
    expected = padded.view(2, 3, height, side, width, side).permute(0, 3, 5, 1, 2, 4).reshape(2, -1, height, width)
    for images in (x, x.to(dtype)):
        y = cpu.space_to_depth(images, side, height, width, dtype)
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(y, expected.to(dtype))


@needs_onednn
def test_everything_else_is_left_to_pytorch():
    full, conv = Linear(6, 4), Conv2d(2, 4, 3)
    x, images = torch.randn(3, 6), torch.randn(3, 2, 5, 5)
    assert torch.equal(full.double()(x.double()), F.linear(x.double(), full.weight, full.bias))
    assert torch.equal(conv.double()(images.double()), F.conv2d(images.double(), conv.weight, conv.bias))
    full, conv = full.float(), conv.float()
    assert full(torch.randn(2, 3, 6)).shape == (2, 3, 4)
    assert full(torch.randn(0, 6)).shape == (0, 4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        full(torch.randn(3, 7))
    assert conv(images[0]).shape == (4, 3, 3)
    assert full.to("meta")(x.to("meta")).shape == (3, 4)
    with torch.autocast("cpu", torch.float16):
        assert linear(x, torch.randn(4, 6), None).dtype == torch.float16


def test_compiling_tracing_and_exporting_keep_the_numbers():
    network = nn.Sequential(Conv2d(3, 8, 11, 4), nn.Flatten(), Linear(8 * 16, 5))
    x = torch.randn(2, 3, 23, 23)
    expected = network(x)
    for changed in (
        torch.compile(network, backend="aot_eager", fullgraph=True),
        torch.fx.symbolic_trace(network),
        torch.export.export(network, (x,)).module(),
    ):
        torch.testing.assert_close(changed(x), expected)
    assert "alexnet" not in str(torch.export.export(network, (x,)).graph)
    torch._dynamo.reset()


@needs_kernels
@needs_onednn
def test_operators_obey_pytorchs_rules():
    rules = ("test_schema", "test_autograd_registration", "test_faketensor")
    check = functools.partial(torch.library.opcheck, test_utils=rules)
    x, w, b = (torch.randn(s).requires_grad_() for s in ((4, 6), (5, 6), (5,)))
    check(torch.ops.alexnet.linear.default, (x, w, b))
    x, w, b = (torch.randn(s).requires_grad_() for s in ((2, 4, 6, 6), (6, 2, 3, 3), (6,)))
    check(torch.ops.alexnet.conv2d.default, (x, w, b, [1, 1], [1, 1], 2))
    x, w, g = x.detach(), w.detach(), torch.randn(2, 6, 6, 6)
    for of_x in (True, False):
        check(torch.ops.alexnet.conv2d_gradient.default, (x, w, g, [1, 1], [1, 1], 2, of_x))
    check(torch.ops.alexnet.space_to_depth.default, (torch.randn(2, 3, 9, 9), 4, 2, 3, torch.bfloat16))


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(
    ("batch", "inputs", "out", "size", "padding", "groups", "height", "width"),
    [
        (5, 96, 256, 5, 2, 2, 27, 27),
        (8, 256, 384, 3, 1, 1, 13, 13),
        (1, 32, 128, 3, 0, 2, 5, 9),
        (6, 16, 64, 1, 0, 1, 7, 3),
        (3, 32, 32, 3, 1, 1, 6, 1),
        (4, 24, 64, 5, 2, 2, 13, 13),  # channels that fill no whole vectors or tiles
        (2, 96, 96, 3, 1, 2, 6, 6),
        (3, 30, 42, 3, 1, 2, 5, 4),
        (2, 7, 3, 3, 1, 1, 4, 4),
    ],
)
def test_weight_gradients_round_nothing_but_their_operands(
    batch: int,
    inputs: int,
    out: int,
    size: int,
    padding: int,
    groups: int,
    height: int,
    width: int,
    threads: int,
    dtype: torch.dtype,
):
    layer = Conv2d(inputs, out, size, padding=padding, groups=groups)
    assert layer.bias is not None
    x = torch.randn(batch, inputs, height, width).to(dtype).requires_grad_()
    kernel = cpu.weight_gradient_kernel(x, layer.weight, (1, 1), (padding,) * 2, groups, dtype)
    if not (kernels.has("conv_gradient", dtype) and kernels.has_onednn(x)):
        pytest.skip(f"no kernel in {dtype} here")
    if dtype == torch.float32 and (inputs // groups % 16 or out // groups % 32):
        assert kernel is None
        pytest.skip("oneDNN is faster")
    assert kernel == "conv_gradient"
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            assert cpu.implementation(x, layer.weight, layer.bias, (1, 1), (padding,) * 2, groups) == "onednn"
            y = layer(x)
        g = torch.randn_like(y)
        assert y.dtype == dtype
        found = [y.detach(), *torch.autograd.grad(y, (x, layer.weight, layer.bias), g)]
    finally:
        torch.set_num_threads(before)
    leaves = [t.detach().to(dtype).double().requires_grad_() for t in (x, layer.weight, layer.bias)]
    exactly = F.conv2d(leaves[0], leaves[1], leaves[2], 1, padding, 1, groups)
    wanted = [exactly.detach(), *torch.autograd.grad(exactly, leaves, g.double())]
    rounded = 2**-8 if dtype == torch.bfloat16 else 4e-6  # oneDNN's own
    for ours, exact, allowed in zip(found, wanted, (rounded, rounded, 2e-6, 2e-6), strict=True):
        assert ours.shape == exact.shape
        assert (ours.double() - exact).abs().max() <= allowed * exact.abs().max()
    assert [each.dtype for each in found[1:]] == [dtype, torch.float32, torch.float32]


@needs_kernels
@pytest.mark.parametrize(("out", "stride", "padding"), [(64, 2, 1), (64, 1, (0, 1)), (64, 1, "same")])
def test_other_convolutions_in_bfloat16_are_pytorchs(out: int, stride: int, padding: int | str | tuple[int, int]):
    layer = Conv2d(16, out, 3, stride, padding)
    assert layer.bias is not None
    x = torch.randn(2, 16, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert cpu.implementation(x, layer.weight, layer.bias, layer.stride, layer.padding, 1) == "pytorch"
        assert torch.equal(layer(x), nn.Conv2d.forward(layer, x))
