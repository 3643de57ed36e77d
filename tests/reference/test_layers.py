"""The reference's layers against central differences, ONNX's own test data and PyTorch."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx.backend.test.case.node import conv, lrn, maxpool
from onnx.reference import ReferenceEvaluator
from torch.nn import functional as F

from reference import layers
from reference.layers import Array


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(scale=scale, size=shape)


def by_differences(function: Callable[[Array], Array], x: Array, gradient: Array, step: float = 1e-6) -> Array:
    """Gradient of `sum(function(x) * gradient)` with respect to x, by central differences."""
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = []
        for sign in (1, -1):
            near = x.copy()
            near[index] += sign * step
            moved.append((function(near) * gradient).sum())
        result[index] = (moved[0] - moved[1]) / (2 * step)
    return result


PLAIN = {
    "relu": (layers.relu, normal(2, 3, 4, 5)),
    "tanh": (layers.tanh, normal(2, 3, 4, 5)),
    # Large enough for the sum to outweigh k: else y is nearly a multiple of x and the other terms would not show.
    "lrn": (lambda x: layers.local_response_norm(x, 0.02, groups=2), normal(2, 12, 2, 3, scale=5)),
    "lrn in narrow towers": (lambda x: layers.local_response_norm(x, 0.02, groups=2), normal(2, 4, 2, 3, scale=5)),
    "spatial norm": (lambda x: layers.spatial_norm(x, 0.02), normal(2, 2, 7, 6, scale=5)),
    "spatial norm of a small map": (lambda x: layers.spatial_norm(x, 0.02), normal(2, 2, 2, 3, scale=5)),
    "pool": (layers.max_pool, normal(2, 2, 7, 5)),
    "pool, clipped": (layers.max_pool, normal(2, 2, 6, 8)),
    "pool 2x2": (lambda x: layers.max_pool(x, 2, 2), normal(2, 2, 5, 4)),
    "dropout": (lambda x: layers.dropout(x, normal(3, 8, seed=1) > 0), normal(3, 8)),
    "dropout in testing": (lambda x: layers.dropout(x, None), normal(3, 8)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_gradients_are_central_differences(name: str):
    layer, x = PLAIN[name]
    y, backward = layer(x)
    gradient = normal(*y.shape, seed=2)
    expected = by_differences(lambda near: layer(near)[0], x, gradient)
    np.testing.assert_allclose(backward(gradient), expected, rtol=1e-7, atol=1e-8)


WEIGHTED = {
    "convolution": (layers.convolution, (2, 3, 5, 6), (4, 3, 3, 3)),
    "padded, two towers": (
        lambda x, w, b: layers.convolution(x, w, b, padding=2, groups=2),
        (2, 4, 4, 3),
        (6, 2, 5, 5),
    ),
    "windows past both ends": (lambda x, w, b: layers.convolution(x, w, b, stride=4), (2, 3, 9, 10), (2, 3, 7, 7)),
    "windows end at the edge": (
        lambda x, w, b: layers.convolution(x, w, b, stride=4),
        (2, 3, 11, 7),
        (2, 3, 7, 7),
    ),
    "padding, windows past the end": (
        lambda x, w, b: layers.convolution(x, w, b, stride=3, padding=1, groups=2),
        (1, 2, 6, 9),
        (4, 1, 3, 3),
    ),
    "fully connected": (layers.linear, (3, 2, 3, 2), (5, 12)),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_gradients_of_input_weight_and_bias_are_central_differences(name: str):
    layer, x_shape, weight_shape = WEIGHTED[name]
    arguments = [normal(*x_shape), normal(*weight_shape), normal(weight_shape[0])]
    y, backward = layer(*arguments)
    gradient = normal(*y.shape, seed=2)
    for index, gradient_of_argument in enumerate(backward(gradient)):

        def function(near: Array, index: int = index) -> Array:
            return layer(*arguments[:index], near, *arguments[index + 1 :])[0]

        # The layer is linear in each argument, so a long step is exact.
        expected = by_differences(function, arguments[index], gradient, step=0.5)
        np.testing.assert_allclose(gradient_of_argument, expected, rtol=1e-9, atol=1e-11)


def test_gradient_of_cross_entropy_is_central_differences():
    logits, labels = normal(4, 6, scale=3), np.array([0, 5, 2, 2])
    _, gradient = layers.cross_entropy(logits, labels)
    expected = by_differences(lambda near: np.array(layers.cross_entropy(near, labels)[0]), logits, np.array(1.0))
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-9)


def test_cross_entropy_by_hand():
    loss, gradient = layers.cross_entropy(np.log([[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]) + 1e4, np.array([1, 0]))
    assert loss == pytest.approx(-(np.log(0.25) + np.log(0.375)) / 2, rel=1e-11)
    np.testing.assert_allclose(
        gradient, [[0.125 / 2, -0.75 / 2, 0.625 / 2], [-0.625 / 2, 0.375 / 2, 0.125]], rtol=1e-11
    )


def test_relu_has_gradient_0_at_0():
    y, backward = layers.relu(np.array([-2.0, -0.0, 0.0, 3.0]))
    np.testing.assert_array_equal(y, [0, 0, 0, 3])
    np.testing.assert_array_equal(backward(np.full(4, 7.0)), [0, 0, 0, 7])


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "outputs"),
    [
        (224, 11, 4, 0, 55),
        (227, 11, 4, 0, 55),
        (223, 11, 4, 0, 54),
        (27, 5, 1, 2, 27),
        (13, 3, 1, 1, 13),
        (55, 3, 2, 0, 27),
        (27, 3, 2, 0, 13),
        (13, 3, 2, 0, 6),
        (55, 2, 2, 0, 28),
        (11, 2, 2, 0, 6),
    ],
)
def test_output_sizes_of_2012(size: int, kernel: int, stride: int, padding: int, outputs: int):
    assert layers.output_size(size, kernel, stride, padding) == outputs
    x = np.zeros((1, 1, size, size))
    assert layers.convolution(x, np.zeros((1, 1, kernel, kernel)), np.zeros(1), stride, padding)[0].shape[2:] == (
        outputs,
        outputs,
    )
    if not padding:
        assert layers.max_pool(x, kernel, stride)[0].shape[2:] == (outputs, outputs)


def test_conv1_is_padded_with_three_zeros_right_and_below():
    x, weight, bias = normal(1, 3, 224, 224), normal(2, 3, 11, 11), normal(2)
    y, backward = layers.convolution(x, weight, bias, stride=4)
    framed = torch.from_numpy(x).requires_grad_()
    expected = F.conv2d(F.pad(framed, (0, 3, 0, 3)), torch.from_numpy(weight), torch.from_numpy(bias), stride=4)
    gradient = normal(*y.shape, seed=2)
    (of_x,) = torch.autograd.grad(expected, framed, torch.from_numpy(gradient))
    close(y, expected)
    close(backward(gradient)[0], of_x)


def test_convolution_in_towers_equals_torch():
    x, weight, bias = normal(2, 6, 5, 7), normal(8, 3, 3, 3), normal(8)
    y, _ = layers.convolution(x, weight, bias, padding=1, groups=2)
    close(y, F.conv2d(torch.from_numpy(x), torch.from_numpy(weight), torch.from_numpy(bias), padding=1, groups=2))


@pytest.mark.parametrize(("kernel", "shape"), [(3, (13, 12)), (2, (11, 6))])
def test_pooling_of_ties_equals_torch(kernel: int, shape: tuple[int, int]):
    x = np.random.default_rng(0).integers(-2, 2, (2, 3, *shape)).astype(float)  # most windows have several maxima
    y, backward = layers.max_pool(x, kernel, 2)
    framed = torch.from_numpy(x).requires_grad_()
    expected = F.max_pool2d(framed, kernel, 2, ceil_mode=True)
    gradient = normal(*y.shape)
    close(y, expected)
    close(backward(gradient), torch.autograd.grad(expected, framed, torch.from_numpy(gradient))[0])


@pytest.mark.parametrize("channels", [32, 3])
def test_original_alpha_is_torchs_divided_by_the_window_in_each_tower(channels: int):
    x = normal(2, 2 * channels, 3, 4, scale=100)
    norm = torch.nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
    towers = [norm(torch.from_numpy(x[:, half])) for half in (slice(channels), slice(channels, None))]
    close(layers.local_response_norm(x, 1e-4 / 5, groups=2)[0], torch.cat(towers, 1))


def test_normalisations_by_hand():
    ones = np.ones((1, 12, 1, 1))
    neighbours = np.array([3, 4, 5, 5, 4, 3] * 2)  # two towers of six
    y, _ = layers.local_response_norm(100 * ones, 1e-4, groups=2)
    np.testing.assert_allclose(y[0, :, 0, 0], 100 * (2 + neighbours) ** -0.75, rtol=1e-14)
    y, _ = layers.spatial_norm(np.full((1, 1, 6, 1), 50.0))
    rows = np.array([3, 4, 5, 5, 4, 3])
    np.testing.assert_allclose(y[0, 0, :, 0], 50 * (1 + 0.1 * rows) ** -0.75, rtol=1e-14)  # 1e-3 / 25 * 2500 = 0.1


def test_spatial_norm_is_lrn_over_rows_and_columns():
    """Where only one column differs from 0, its neighbours are those of LRN over as many channels."""
    x = normal(1, 1, 9, 5, scale=30)
    x[..., 1:] = 0
    expected, _ = layers.local_response_norm(x.transpose(0, 2, 1, 3), 0.01, k=1.0)
    y, _ = layers.spatial_norm(x, 0.01)
    np.testing.assert_allclose(y.transpose(0, 2, 1, 3), expected, rtol=1e-14)


def close(ours: Array, theirs: torch.Tensor):
    theirs = theirs.detach()
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12 * float(theirs.abs().max()))


def onnx_cases(monkeypatch: pytest.MonkeyPatch, module, *exports: Callable[[], None]) -> dict[str, tuple]:
    """Attributes, inputs and output of each case of ONNX's own tests of an operator."""
    cases = {}

    def expect(node: onnx.NodeProto, inputs: list[Array], outputs: list[Array], name: str):
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        cases[name] = (attributes, [each.astype(np.float64) for each in inputs], outputs[0])

    monkeypatch.setattr(module, "expect", expect)
    for export in exports:
        export()
    return cases


def test_lrn_equals_onnx_data(monkeypatch: pytest.MonkeyPatch):
    cases = onnx_cases(monkeypatch, lrn, lrn.LRN.export_default)
    (attributes, (x,), expected) = cases["test_lrn_default"]  # ONNX's defaults: alpha 1e-4, beta 0.75, bias 1
    y, _ = layers.local_response_norm(x, 1e-4 / attributes["size"], k=1.0, size=attributes["size"])
    np.testing.assert_allclose(y, expected, rtol=1e-6)  # float32


def test_lrn_equals_onnx_operator():
    # As many images as channels: ONNX's operator mistakes one number for the other.
    x = normal(7, 7, 4, 3, scale=100)
    node = onnx.helper.make_node("LRN", ["x"], ["y"], size=5, alpha=1e-4, beta=0.75, bias=2.0)
    (expected,) = ReferenceEvaluator(node).run(None, {"x": x})
    y, _ = layers.local_response_norm(x, float(np.float32(1e-4)) / 5)  # attributes are float32
    np.testing.assert_allclose(y, np.asarray(expected), rtol=1e-12)


def test_convolution_equals_onnx_data(monkeypatch: pytest.MonkeyPatch):
    cases = onnx_cases(monkeypatch, conv, conv.Conv.export, conv.Conv.export_conv_with_strides)
    compared = 0
    for attributes, (x, weight), expected in cases.values():
        pads, stride = attributes["pads"], attributes.get("strides", [1])[0]
        if len(set(pads)) == 1:
            y, _ = layers.convolution(x, weight, np.zeros(1), stride, pads[0])
            np.testing.assert_array_equal(y, expected)
            compared += 1
    assert compared == 4


def test_pooling_equals_onnx_data(monkeypatch: pytest.MonkeyPatch):
    exports = maxpool.MaxPool.export_maxpool_2d_ceil, maxpool.MaxPool.export_maxpool_2d_default
    cases = onnx_cases(monkeypatch, maxpool, *exports)
    for attributes, (x,), expected in cases.values():
        y, _ = layers.max_pool(x, attributes["kernel_shape"][0], attributes.get("strides", [1])[0])
        np.testing.assert_array_equal(y, expected.astype(np.float64))
    assert len(cases) == 2
