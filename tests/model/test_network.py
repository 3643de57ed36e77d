"""The network's shapes, counts, stages and arithmetic, against the paper and plain PyTorch."""

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from alexnet import AlexNet
from alexnet.native import compiler

NARROW = {"width": 1 / 12, "classes": 7}


def test_the_paper_network_has_its_number_of_parameters():
    with torch.device("meta"):
        network = AlexNet("paper")
    assert sum(p.numel() for p in network.parameters()) == 60_965_224


def test_every_stage_has_the_papers_shape():
    shapes: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        network = AlexNet("paper").eval()
        for name, stage in network.named_children():
            stage.register_forward_hook(lambda m, i, o, name=name: shapes.update({name: tuple(o.shape[1:])}))  # type: ignore[union-attr]
        network(torch.empty(2, 3, 224, 224, device="meta"))
    assert shapes["conv1"] == shapes["norm1"] == (96, 55, 55)
    assert shapes["pool1"] == (96, 27, 27)
    assert shapes["conv2"] == shapes["norm2"] == (256, 27, 27)
    assert shapes["pool2"] == (256, 13, 13)
    assert shapes["conv3"] == shapes["conv4"] == (384, 13, 13)
    assert shapes["conv5"] == (256, 13, 13)
    assert shapes["pool5"] == (256, 6, 6)
    assert shapes["fc6"] == shapes["drop6"] == shapes["relu7"] == (4096,)
    assert shapes["fc8"] == (1000,)


def test_the_image_is_padded_on_the_right_and_at_the_bottom_only():
    network = AlexNet(**NARROW, input_size=224).eval()
    x = torch.randn(1, 3, 224, 224)
    expected = F.conv2d(F.pad(x, (0, 3, 0, 3)), network.conv1.weight, network.conv1.bias, stride=4)
    found = {}
    network.conv1.register_forward_hook(lambda m, i, o: found.update(conv1=o))
    network(x)
    torch.testing.assert_close(found["conv1"], expected)


def test_forward_is_the_papers_order_of_plain_operations():
    """ReLU, normalisation within each tower, pooling; two groups; in testing dropout is a factor."""
    network = AlexNet(**NARROW, input_size=67).double().eval()
    x = torch.randn(3, 3, 67, 67, dtype=torch.float64) * 60

    def norm(x):
        halves = [F.local_response_norm(half, 5, 5 * network.network.lrn_alpha, 0.75, 2.0) for half in x.chunk(2, 1)]
        return torch.cat(halves, 1)

    def conv(x, layer, **options):
        return F.relu(F.conv2d(x, layer.weight, layer.bias, **options))

    n = network
    y = F.max_pool2d(norm(conv(x, n.conv1, stride=4)), 3, 2, ceil_mode=True)
    y = F.max_pool2d(norm(conv(y, n.conv2, padding=2, groups=2)), 3, 2, ceil_mode=True)
    y = conv(y, n.conv3, padding=1)
    y = conv(y, n.conv4, padding=1, groups=2)
    y = F.max_pool2d(conv(y, n.conv5, padding=1, groups=2), 3, 2, ceil_mode=True).flatten(1)
    y = 0.5 * F.relu(F.linear(y, n.fc6.weight, n.fc6.bias))
    y = 0.5 * F.relu(F.linear(y, n.fc7.weight, n.fc7.bias))
    torch.testing.assert_close(network(x), F.linear(y, n.fc8.weight, n.fc8.bias))


def test_dropout_does_not_rescale():
    network = AlexNet(**NARROW, input_size=67).train()
    x = torch.full((1000, 40), 3.0)
    dropped = network.drop6(x)
    assert set(dropped.unique().tolist()) == {0.0, 3.0}
    assert abs((dropped == 0).float().mean() - 0.5) < 0.01
    assert torch.equal(network.eval().drop6(x), x / 2)


def test_initial_weights_have_the_papers_distribution():
    network = AlexNet(classes=1000, width=0.5)
    for name, bias in zip(
        ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"), (0, 1, 0, 1, 1, 1, 1, 0), strict=True
    ):
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        assert layer.bias is not None
        spread = 5 / math.sqrt(2 * layer.weight.numel())
        assert layer.weight.std().item() == pytest.approx(0.01, rel=spread)
        assert abs(layer.weight.mean()) < 5 * 0.01 / math.sqrt(layer.weight.numel())
        assert torch.equal(layer.bias, torch.full_like(layer.bias, bias))


def test_initial_weights_are_a_function_of_the_generator():
    def make(seed):
        return AlexNet(**NARROW, input_size=67, generator=torch.Generator().manual_seed(seed)).state_dict()

    first, again, other = make(1), make(1), make(2)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("size", [36, 64, 112, 227, 256])
def test_other_input_sizes_work(size):
    with torch.device("meta"):
        network = AlexNet(width=0.25, classes=3, input_size=size)
        assert network(torch.empty(2, 3, size, size)).shape == (2, 3)


def test_hooks_see_the_output_of_each_stage():
    """In testing nothing is overwritten: conv1's output has negative values, and relu1 is its positive part."""
    network = AlexNet(**NARROW, input_size=67).eval()
    out = create_feature_extractor(network, ["conv1", "relu1", "norm2", "fc7", "relu7", "fc8"])(
        torch.randn(2, 3, 67, 67) * 60
    )
    assert (out["conv1"] < 0).any()
    assert torch.equal(out["relu1"], out["conv1"].relu())
    assert torch.equal(out["relu7"], out["fc7"].relu())
    assert out["fc8"].shape == (2, 7)


def test_channels_last_memory_gives_the_same_logits():
    network = AlexNet(**NARROW, input_size=67).eval()
    x = torch.randn(2, 3, 67, 67) * 60
    expected = network(x)
    last = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))  # type: ignore[call-overload]
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(compiler.command() is None, reason="torch.compile needs a compiler")
def test_the_compiled_network_gives_the_same_outputs_and_gradients():
    network = AlexNet(**NARROW, input_size=67, dropout=0.0, initial_std=(0.02, *[0.1] * 7)).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = (torch.randn(4, 3, 67, 67) * 60).contiguous(memory_format=torch.channels_last)
    found = []
    for form in (network, torch.compile(network)):
        network.zero_grad()
        logits = form(x)
        F.cross_entropy(logits, torch.arange(4)).backward()
        found.append([logits.detach(), *(w.grad.clone() for w in network.parameters() if w.grad is not None)])
    assert len(found[0]) == 17
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("vgg",), "no network named 'vgg'"),
        ((), "at least 36 pixels"),
    ],
)
def test_unbuildable_networks_are_explained(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        AlexNet(*arguments, input_size=30)


def test_relu_has_no_gradient_at_zero():
    x = torch.zeros(3, requires_grad=True)
    nn.ReLU()(x).sum().backward()
    assert x.grad is not None and not x.grad.any()


@pytest.mark.parametrize(
    "shape", [(3, 67, 67), (2, 67, 67, 3), (2, 1, 67, 67), (2, 4, 67, 67), (2, 3, 64, 67), (2, 3, 227, 227)]
)
def test_an_input_of_another_shape_is_told_which_one_it_takes(shape):
    network = AlexNet(width=1 / 12, classes=5, input_size=67)
    with pytest.raises(ValueError, match=re.escape(f"takes [B, 3, 67, 67], not {list(shape)}.")):
        network(torch.zeros(shape))


def test_an_input_of_another_kind_is_told_what_it_takes():
    network = AlexNet(width=1 / 12, classes=5, input_size=67).eval()
    image = np.zeros((67, 67, 3), np.uint8)
    given = {
        "float32, not uint8": torch.zeros(1, 3, 67, 67, dtype=torch.uint8),
        "float32, not int64": torch.zeros(1, 3, 67, 67, dtype=torch.int64),
        "float32, not float64": torch.zeros(1, 3, 67, 67, dtype=torch.float64),
        "a tensor, not ndarray": image,
        "a tensor, not Image": Image.fromarray(image),
        "a tensor, not str": "dog.jpg",
    }
    for wrong, x in given.items():
        with pytest.raises(ValueError, match=rf"takes {wrong}\..* give it preprocess\(image\)\[None\]"):
            network(x)
    with torch.inference_mode():
        assert network.double()(given["float32, not float64"]).dtype == torch.float64
