"""The signs of a training that goes wrong."""

import math

import torch

from alexnet.model.network import AlexNet
from alexnet.training import health


def small() -> AlexNet:
    return AlexNet(width=1 / 12, classes=5, input_size=67, initial_std=(0.02,) * 8)


def test_a_loss_at_chance_is_said_once():
    watch = health.LossWatch(classes=10)
    said = [watch.observe(math.log(10) + 0.001) for _ in range(health.STEPS_AT_CHANCE + 50)]
    (sentence,) = [s for s in said if s]
    assert said[health.STEPS_AT_CHANCE - 1] == sentence
    assert "2.303" in sentence and "--recipe small" in sentence


def test_a_falling_loss_is_left_alone():
    watch = health.LossWatch(classes=10)
    assert not any(watch.observe(math.log(10) * 0.995**step) for step in range(1000))


def test_dead_units_are_counted_per_layer():
    network = small().eval()
    with torch.no_grad():
        network.conv4.weight[:10] = 0
        network.conv4.bias[:10] = -1  # 10 of 32 kernels never answer
        network.fc7.weight.zero_()
        network.fc7.bias.fill_(-1)
    shares = health.dead_units(network, torch.randn(8, 3, 67, 67) * 60)
    assert list(shares) == ["relu1", "relu2", "relu3", "relu4", "relu5", "relu6", "relu7"]
    assert shares["relu4"] == 10 / 32 and shares["relu7"] == 1 and shares["relu1"] == 0
    sentence = health.dead_warning(shares)
    assert sentence and "relu7 100%" in sentence and "relu4" not in sentence
    assert health.dead_warning(dict.fromkeys(shares, 0.2)) is None
    assert not any(m._forward_hooks for m in network.modules())


def test_the_first_layer_that_is_not_finite_is_named():
    network = small()
    assert health.first_bad_layer(network) is None
    network.conv3.weight.grad = torch.full_like(network.conv3.weight, float("inf"))
    assert health.first_bad_layer(network) == "the gradient of conv3.weight"
    with torch.no_grad():
        network.conv2.weight[0] = float("nan")
    assert health.first_bad_layer(network) == "the weights conv2.weight"
