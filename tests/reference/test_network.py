"""The reference as a whole: shapes and counts of 2012, gradients against central differences, the update by hand."""

from dataclasses import replace

import numpy as np
import pytest

from reference import layers
from reference.layers import Array
from reference.network import (
    ORIGINAL,
    PAPER,
    Settings,
    forward,
    original,
    output_sizes,
    paper,
    shapes,
    train_steps,
    update,
)

# 69 pixels: the last windows of conv1 and of all pools reach past the end.
NARROW = {"channels": (4, 6, 4, 6, 4), "hidden": (7, 5), "classes": 3, "input_size": 69}


def random_weights(**narrow) -> dict[str, Array]:
    """Activations keep their size from layer to layer, so that every stage matters (pixels are in the tens)."""
    random = np.random.default_rng(0)
    return {
        name: random.normal(scale=np.prod(shape[1:]) ** -0.5 if name.endswith("weight") else 0.5, size=shape)
        for name, shape in shapes(**NARROW | narrow).items()
    }


def batch(size: int = 2, input_size: int = 69, contrast: float = 60) -> tuple[Array, Array, dict[str, Array]]:
    """Images, labels, and masks that keep two units in three."""
    random = np.random.default_rng(1)
    images = random.normal(scale=contrast, size=(size, 3, input_size, input_size))
    labels = random.integers(0, 3, size)
    masks = {f"drop{number}": np.sign(random.integers(0, 3, (size, hidden))) for number, hidden in ((6, 7), (7, 5))}
    return images, labels, masks


def test_parameters_of_2012():
    count = {name: int(np.prod(shape)) for name, shape in shapes().items()}
    assert sum(count.values()) == 60_965_224
    assert shapes()["conv2.weight"] == (256, 48, 5, 5)
    assert shapes()["conv3.weight"] == (384, 256, 3, 3)
    assert shapes()["fc6.weight"] == (4096, 256 * 6 * 6)
    half = shapes((48, 128, 192, 192, 256), towers=1)
    assert sum(int(np.prod(shape)) for shape in half.values()) == 59_798_312


def test_multiply_adds_of_2012():
    weights = {name.split(".")[0]: int(np.prod(shape)) for name, shape in shapes().items() if len(shape) > 1}
    assert sum(count * output_sizes().get(name, 1) ** 2 for name, count in weights.items()) == 724_406_816


@pytest.mark.parametrize("settings", [paper(), original()], ids=["paper", "original"])
def test_stages_of_2012(settings: Settings):
    images, _, masks = batch(1, input_size=224)
    stages, _ = forward(random_weights(input_size=224), images, settings, masks)
    shape = {name: output.shape[1:] for name, output in stages.items()}
    assert shape["conv1"] == (4, 55, 55)
    assert shape["pool1"] == (4, 27, 27)
    assert shape["conv2"] == shape["norm2"] == (6, 27, 27)
    assert shape["pool2"] == (6, 13, 13)
    assert shape["conv3"] == shape["conv5"] == (4, 13, 13)
    assert shape["pool5"] == (4, 6, 6)
    assert shape["fc6"] == shape["drop6"] == (7,)
    assert shape["fc8"] == (3,)
    sides = output_sizes()
    assert all(output.shape[2] == sides[name] for name, output in stages.items() if name in sides)


def test_order_of_stages():
    assert PAPER[:8] == ("conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2")
    assert ORIGINAL[:9] == ("conv1", "norm1", "pool1", "relu1", "conv2", "relu2", "norm2", "spatial2", "pool2")
    assert PAPER[8:] == ORIGINAL[9:]
    stages, _ = forward(random_weights(), batch()[0], original())
    assert stages["norm1"].min() < 0  # LRN saw negative numbers
    np.testing.assert_array_equal(stages["relu1"], np.maximum(stages["pool1"], 0))


def test_testing_halves_the_activations():
    stages, _ = forward(random_weights(), batch()[0], paper())
    np.testing.assert_array_equal(stages["drop6"], stages["relu6"] / 2)
    np.testing.assert_array_equal(stages["drop7"], stages["relu7"] / 2)


@pytest.mark.parametrize(
    ("settings", "contrast"),
    [(paper(), 60), (original(), 60), (paper(activation=layers.tanh, towers=1), 0.5)],
    ids=["paper", "original", "tanh in one tower"],
)
def test_gradients_are_central_differences(settings: Settings, contrast: float):
    """For each parameter, along a direction between a random one and its gradient."""
    images, labels, masks = batch(contrast=contrast)
    weights = random_weights(towers=settings.towers)

    def loss(weights: dict[str, Array]) -> float:
        return layers.cross_entropy(forward(weights, images, settings, masks)[0]["fc8"], labels)[0]

    (step,) = train_steps(weights, [(images, labels)], [masks], [settings])
    assert step.loss == loss(weights)
    assert step.gradients.keys() == weights.keys()
    random = np.random.default_rng(4)
    for name, gradient in step.gradients.items():
        noise, size = random.normal(size=gradient.shape), float(np.linalg.norm(gradient))
        direction = 2 * gradient / size + noise / np.linalg.norm(noise)
        ahead, behind = (loss(weights | {name: weights[name] + move * direction}) for move in (1e-5, -1e-5))
        slope = (gradient * direction).sum()
        assert size > 1e-5 and slope > size / 2, name  # there is something to compare
        assert (ahead - behind) / 2e-5 == pytest.approx(slope, abs=1e-6 * size), name


def test_the_learning_rate_is_inside_the_velocity():
    weights, gradients = np.array([2.0]), (np.array([3.0]), np.array([-1.0]))
    weights, velocity = update("conv3.weight", weights, np.zeros(1), gradients[0], paper())
    assert velocity == pytest.approx(-0.0005 * 0.01 * 2 - 0.01 * 3, rel=1e-14)  # -0.03001
    assert weights == pytest.approx(1.96999, rel=1e-14)
    weights, velocity = update("conv3.weight", weights, velocity, gradients[1], paper(rate=0.001))
    # Nine tenths of the old velocity at its old size; only what is new is ten times smaller.
    assert velocity == pytest.approx(0.9 * -0.03001 - 0.0005 * 0.001 * 1.96999 + 0.001, rel=1e-14)
    assert weights == pytest.approx(1.96999 + velocity, rel=1e-14)


def test_biases_of_the_original_learn_twice_as_fast_and_do_not_decay():
    after, velocity = update("fc6.bias", np.array([5.0]), np.array([1.0]), np.array([3.0]), original())
    assert velocity == pytest.approx(0.9 - 0.02 * 3, rel=1e-14)
    assert after == pytest.approx(5.84, rel=1e-14)
    _, velocity = update("fc6.bias", np.array([5.0]), np.array([1.0]), np.array([3.0]), paper())
    assert velocity == pytest.approx(0.9 - 0.0005 * 0.01 * 5 - 0.01 * 3, rel=1e-14)


def test_a_layer_at_rate_0_is_frozen_and_others_keep_their_own_rates():
    images, labels, masks = batch()
    moving = replace(original(), rates={"conv4": 0.001})
    frozen = replace(moving, rates={"conv1": 0.0, "conv4": 0.001})
    first, second = train_steps(random_weights(), [(images, labels)] * 2, [masks] * 2, [moving, frozen])
    for name in first.weights:
        if name.startswith("conv1"):
            np.testing.assert_array_equal(second.weights[name], first.weights[name])
            np.testing.assert_array_equal(second.velocities[name], first.velocities[name])
            assert abs(first.velocities[name]).max() > 0  # it would have coasted
        else:
            assert (second.weights[name] != first.weights[name]).any()
    np.testing.assert_allclose(first.velocities["conv4.bias"], -0.002 * first.gradients["conv4.bias"], rtol=1e-14)
    np.testing.assert_allclose(first.velocities["conv5.bias"], -0.02 * first.gradients["conv5.bias"], rtol=1e-14)


def test_steps_follow_each_other():
    """Three steps at once are one step three times over: weights and velocity carry everything."""
    images, labels, masks = batch()
    settings = [paper(), paper(), paper(rate=0.001)]
    steps = train_steps(random_weights(), [(images, labels)] * 3, [masks] * 3, settings)
    (again,) = train_steps(steps[1].weights, [(images, labels)], [masks], [paper()])
    assert steps[2].loss == again.loss
    for name, before in steps[1].weights.items():
        weight, velocity = update(name, before, steps[1].velocities[name], steps[2].gradients[name], settings[2])
        np.testing.assert_array_equal(steps[2].velocities[name], velocity)
        np.testing.assert_array_equal(steps[2].weights[name], weight)
