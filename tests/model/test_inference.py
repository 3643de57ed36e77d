"""Inference from packed weights: the logits of the network itself."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.cpu.kernels import onednn_there
from alexnet.model.inference import PackedNetwork, can_pack, packs_bfloat16, weights_version
from alexnet.model.network import AlexNet
from alexnet.networks import NETWORKS

pytestmark = pytest.mark.skipif(not (kernels.available() and onednn_there()), reason="no kernels or no oneDNN here")
WITH_BFLOAT16 = [
    torch.float32,
    pytest.param(
        torch.bfloat16, marks=pytest.mark.skipif(not packs_bfloat16(), reason="oneDNN packs no bfloat16 here")
    ),
]


def network(name: str = "paper", **changes: object) -> AlexNet:
    config = NETWORKS[name].config
    least = {} if name.startswith("four-layer") else {"width": 0.1, "input_size": 99}
    return AlexNet(dataclasses.replace(config, classes=11, **(least | changes)), generator=seeded()).eval()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def spread(net: AlexNet) -> AlexNet:
    """Larger weights, so that logits differ."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("weight"):
                p.normal_(0, 1.4 / p[0].numel() ** 0.5, generator=seeded())
    return net


def images(net: AlexNet, count: int = 3) -> Tensor:
    return torch.randn(count, *net.layers[0].inputs, generator=seeded()) * 60


@torch.no_grad()
def exact(net: AlexNet, x: Tensor) -> Tensor:
    return copy.deepcopy(net).double()(x.double())


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_in_float32_are_the_networks(name: str) -> None:
    net = spread(network(name))
    x = images(net)
    with torch.no_grad():
        packed = PackedNetwork(net, torch.float32, 3)
        found, expected = packed(x), net(x)
    assert expected.std() > 0.02
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.skipif(not packs_bfloat16(), reason="oneDNN packs no bfloat16 here")
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_in_bfloat16_are_as_accurate_as_the_networks(name: str) -> None:
    net = spread(network(name))
    x = images(net, 8)
    truth = exact(net, x)
    with torch.no_grad():
        found = PackedNetwork(net, torch.bfloat16, 8)(x)
        with torch.autocast("cpu", torch.bfloat16):
            plain = net(x)
    assert found.dtype == plain.dtype == torch.bfloat16
    ours, theirs = ((y.double() - truth).square().mean().sqrt() for y in (found, plain))
    assert ours < 1.5 * theirs + 1e-6
    assert theirs < 0.1 * truth.std()


@pytest.mark.parametrize("dtype", WITH_BFLOAT16)
@pytest.mark.parametrize("size", [63, 64, 65, 100, 224])
def test_any_size_of_image(size: int, dtype: torch.dtype) -> None:
    net = spread(network(input_size=size, width=0.05))
    x = images(net, 2)
    with torch.no_grad():
        expected = net(x)
        scale = float(expected.abs().max())
        found = PackedNetwork(net, dtype, 2)(x).float()
    rtol, atol = (1e-4, 1e-5) if dtype == torch.float32 else (0.05, 0.05)
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol * scale)


def test_any_number_and_layout_of_images() -> None:
    net = spread(network())
    packed = PackedNetwork(net, torch.float32, 64)
    x = images(net, 9)
    with torch.no_grad():
        expected = net(x)
        for given in (x, x.contiguous(memory_format=torch.channels_last), x.flip(0).flip(0)):
            torch.testing.assert_close(packed(given), expected, rtol=1e-4, atol=1e-4)
        one_by_one = torch.cat([packed(each[None]) for each in x])
        torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["paper", "torchvision"])  # without and with dropout before fc6
@pytest.mark.parametrize("dtype", WITH_BFLOAT16)
def test_chunks_of_a_batch_give_the_logits_of_the_batch(name: str, dtype: torch.dtype) -> None:
    net = spread(network(name))
    x = images(net, 7)
    with torch.no_grad():
        whole = PackedNetwork(net, dtype, 7)
        chunks = PackedNetwork(net, dtype, 7, max_activation_bytes=1)
        assert (whole.images_at_once >= 7, chunks.images_at_once) == (True, 1)
        scale = float(whole(x).abs().max())
        torch.testing.assert_close(chunks(x), whole(x), rtol=0, atol=(1e-5 if dtype == torch.float32 else 0.02) * scale)


def test_when_weights_can_be_packed() -> None:
    net, x = network(), torch.zeros(1, 3, 99, 99)
    assert not can_pack(net, x, torch.float32)  # gradients are on
    with torch.no_grad():
        assert can_pack(net, x, torch.float32)
        assert can_pack(net, x, torch.bfloat16) == packs_bfloat16()
        assert not can_pack(net, x, torch.float16)
        assert not can_pack(net, x.double(), torch.float64)
        assert not can_pack(net, x[0], torch.float32)
        assert not can_pack(net, x.to("meta"), torch.float32)
        assert not can_pack(net.train(), x, torch.float32)
        net.eval()
        handle = net.get_submodule("relu3").register_forward_hook(lambda *_: None)
        assert not can_pack(net, x, torch.float32)
        handle.remove()
        assert can_pack(net, x, torch.float32)


def test_the_version_changes_with_the_weights() -> None:
    net = network()
    versions = [weights_version(net)]
    with torch.no_grad():
        net.get_parameter("fc8.bias").add_(1)
        versions.append(weights_version(net))
        net.load_state_dict(net.state_dict())
        versions.append(weights_version(net))
        net.get_submodule("conv1").weight = torch.nn.Parameter(net.get_parameter("conv1.weight").clone())
        versions.append(weights_version(net))
    assert len(set(versions)) == 4
    assert weights_version(net) == versions[-1]


@pytest.mark.parametrize("what", ["dilation", "padding mode", "no bias", "another pooling"])
@torch.no_grad()
def test_a_layer_that_was_replaced_is_not_packed(what: str) -> None:
    net, x = network(), torch.zeros(1, 3, 99, 99)
    conv = net.conv3
    assert can_pack(net, x, torch.float32)
    if what == "dilation":
        conv.dilation = (2, 2)
    elif what == "padding mode":
        conv.padding_mode = "circular"
    elif what == "no bias":
        conv.bias = None
    else:
        net.pool2 = torch.nn.AvgPool2d(3, 2)
    assert not can_pack(net, x, torch.float32)
