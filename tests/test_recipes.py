"""The recipes against SPEC's table of what the paper, the original program and Caffe did."""

import dataclasses

import pytest

from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES, recipe

# batch, rate, momentum, decay, bias rate, not decayed, last offset, sharing, colour, its rule, mean, order
TABLE = {
    "paper": (128, 0.01, 0.9, 0.0005, 1, (), False, 1, 0.1, "eigenvalues", "own", "shuffled"),
    "original": (128, 0.01, 0.9, 0.0005, 2, ("bias",), True, 32, 0.1, "standard deviations", "central", "fixed"),
    "caffe": (256, 0.01, 0.9, 0.0005, 2, ("bias",), True, 1, 0, "eigenvalues", "own", "shuffled"),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_recipes_are_those_of_the_table(name):
    made = recipe(name)
    optim, augment = made.optim, made.augment
    assert TABLE[name] == (
        *(made.batch_size, optim.lr, optim.momentum, optim.weight_decay, optim.bias_rate, optim.undecayed),
        *(augment.last_offset, augment.sharing, augment.colour, augment.colour_rule, augment.mean, augment.order),
    )
    assert made.network == NETWORKS[name].config


def test_caffes_rate_falls_every_100_000_batches():
    made = recipe("caffe")
    assert made.schedule.drops == pytest.approx([n * 100_000 * 256 / 1_281_167 for n in (1, 2, 3, 4)], rel=2e-3)


def test_300_macro_batches_are_what_tuning_says():
    (start,) = [change.epoch for change in recipe("tune").schedule.table if change.value == 0.01]
    assert start == pytest.approx(300 * 1024 / 1_281_167, rel=5e-3)


def test_the_four_layer_recipe_is_the_programs():
    made = recipe("cifar")
    assert (made.optim.lr, made.optim.weight_decay, made.optim.undecayed) == (0.001, 0.004, ("bias", "conv1", "conv2"))
    assert made.network.input_size == 24


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_network_is_a_named_one_or_says_what_it_changes(name):
    known = [network.config for network in NETWORKS.values()]
    made = recipe(name).network
    if name in ("small", "demo"):  # the paper's with other initial values, and narrower
        made = dataclasses.replace(
            made, initial_std=known[0].initial_std, initial_bias=known[0].initial_bias, width=1.0, input_size=224
        )
    assert made in known
