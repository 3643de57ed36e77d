"""Signs that a training goes wrong."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from noise import SIZE
from torch import nn

from alexnet.config import NetworkConfig, TrainConfig
from alexnet.data.store.reader import Store
from alexnet.model.network import AlexNet
from alexnet.recipes import recipe
from alexnet.training import health
from alexnet.training.ranks import Ranks
from alexnet.training.state import Setup
from alexnet.training.validation import validate

TEN = TrainConfig(network=NetworkConfig(classes=10))


def watch_of(run: Path, network: nn.Module, config: TrainConfig = TEN, steps_per_epoch: int = 12) -> health.LossWatch:
    return health.LossWatch(config, network, run, steps_per_epoch)


def small() -> AlexNet:
    return AlexNet(width=1 / 12, classes=5, input_size=67, initial_std=(0.02,) * 8)


def test_a_loss_at_chance_is_reported_once(tmp_path):
    watch = watch_of(tmp_path, nn.Linear(1, 1))
    said = [watch.observe(math.log(10) + 0.001, 0.9) for _ in range(health.STEPS_AT_CHANCE + 50)]
    (sentence,) = [s for s in said if s]
    assert said[health.STEPS_AT_CHANCE - 1] == sentence
    assert "2.303" in sentence and "--recipe small" in sentence and "There is no checkpoint yet." in sentence
    assert "17 epochs (200 steps)" in sentence and "recipe paper" in sentence
    assert watch.end(0.9) is None


def test_a_short_training_that_ends_at_chance_says_so(tmp_path):
    watch = watch_of(tmp_path, nn.Linear(1, 1))
    assert not any(watch.observe(math.log(10), 0.9) for _ in range(108))
    assert watch.end(top1_error=0.7) is None
    sentence = watch.end(top1_error=0.9)
    assert sentence and "after 9 epochs (108 steps)" in sentence


def test_a_loss_at_chance_is_no_sign_where_the_error_falls(tmp_path):
    # fine-tuning: a new last layer with small weights over layers that are trained
    watch = watch_of(tmp_path, nn.Linear(1, 1))
    errors = [0.9 * 0.98**step for step in range(2 * health.STEPS_AT_CHANCE)]
    assert not any(watch.observe(math.log(10), error) for error in errors)
    assert watch.end(None) is None
    assert watch.end(top1_error=0.9) is None  # however bad the validation is


@pytest.mark.parametrize(("epochs", "advice"), [(9, "try --epochs 75"), (100, "another --optim.lr")])
def test_the_advice_never_is_the_recipe_in_use(epochs, advice, tmp_path):
    config = dataclasses.replace(recipe("small", epochs=epochs), network=TEN.network)
    watch = watch_of(tmp_path, nn.Linear(1, 1), config)
    watch.observe(math.log(10), 0.9)
    sentence = watch.end(None)
    assert sentence and advice in sentence and "--recipe" not in sentence


def test_a_falling_loss_is_not_reported(tmp_path):
    watch = watch_of(tmp_path, nn.Linear(1, 1))
    assert not any(watch.observe(math.log(10) * 0.995**step, 0.9) for step in range(1000))


def test_exploding_gradients_are_reported_once_with_the_layer_and_the_last_checkpoint(tmp_path):
    network = small()
    network.conv2.weight.grad = torch.full_like(network.conv2.weight, 1e3)
    network.fc8.weight.grad = torch.zeros_like(network.fc8.weight)
    (tmp_path / "checkpoints" / "step-00000007").mkdir(parents=True)
    watch = watch_of(tmp_path, network)
    said = [watch.observe(loss, 0.9) for loss in (2.3, 2.5, 50.0, 1e9)]
    sentence = said[2]
    assert sentence and [s for s in said if s] == [sentence]
    for part in ("the loss is 50", "2.303", "the gradient of conv2.weight", "step-00000007", "--optim.lr"):
        assert part in sentence


def test_dead_units_are_counted_per_layer():
    network = small().eval()
    with torch.no_grad():
        network.conv4.weight[:10] = 0
        network.get_parameter("conv4.bias")[:10] = -1  # 10 of 32 channels are always 0
        network.fc7.weight.zero_()
        network.fc7.bias.fill_(-1)
    fractions = health.dead_units(network, torch.randn(8, 3, 67, 67) * 60)
    assert list(fractions) == ["relu1", "relu2", "relu3", "relu4", "relu5", "relu6", "relu7"]
    assert fractions["relu4"] == 10 / 32 and fractions["relu7"] == 1 and fractions["relu1"] == 0
    sentence = health.dead_warning(fractions)
    assert sentence and "relu7 100%" in sentence and "relu4" not in sentence
    assert health.dead_warning(dict.fromkeys(fractions, 0.2)) is None
    assert not any(m._forward_hooks for m in network.modules())


def test_the_first_layer_that_is_not_finite_is_named():
    network = small()
    assert health.first_not_finite(network) is None
    network.conv3.weight.grad = torch.full_like(network.conv3.weight, float("inf"))
    assert health.first_not_finite(network) == "the gradient of conv3.weight"
    network.conv3.weight.grad = None
    infinite = torch.full((16, network.fc7.in_features), float("inf")), torch.ones(16, network.fc7.out_features)
    setattr(network.fc7.weight, "deferred", [infinite])  # noqa: B010 (as a backward pass does)
    assert health.first_not_finite(network) == "the gradient of fc7.weight"
    assert "the gradient of fc7.weight has norm inf" in health.steepest_gradient(network)
    with torch.no_grad():
        network.conv2.weight[0] = float("nan")
    assert health.first_not_finite(network) == "the weights conv2.weight"


def test_a_rank_without_validation_images_names_every_relu(noise: Path, config: TrainConfig) -> None:
    """Else the ranks would add lists of different lengths, and wait for each other for ever."""

    class Idle(Ranks):
        def part(self, count: int) -> slice:
            return slice(0, 0)

    network = AlexNet(config.network)
    setup = Setup(config, torch.device("cpu"), torch.float32, torch.zeros(SIZE, SIZE, 3), np.eye(3), 1, store="")
    found, whole = (validate(network, Store(noise).split("val"), setup, ranks) for ranks in (Idle(), Ranks()))
    assert found.dead == dict.fromkeys(whole.dead, 0.0) and len(whole.dead) == 7
