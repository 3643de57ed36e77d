"""Three training steps of narrow networks, number by number against `reference`, which shares no code with them."""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from reference import network as reference
from reference.network import Settings, Step, forward, train_steps
from torch import Tensor, nn

from alexnet import recipes
from alexnet.model.network import AlexNet
from alexnet.training.step import update
from alexnet.training.update import MomentumSGD

VARIANTS: dict[str, Callable[..., Settings]] = {"paper": reference.paper, "original": reference.original}
"""The reference's settings, by the name of our network and recipe."""

LEARNING_RATES = [(0.01, 0.01), (0.01, 0.01), (0.001, 0.0)]
"""Of all other layers, and of conv1, in each step: a drop, and a layer that freezes."""

CLASSES, IMAGES, SIZE = 5, 6, 69  # 69 pixels: the last windows of conv1 and of all pools reach past the end


def narrow(variant: str, random: torch.Generator) -> AlexNet:
    """In float64, with weights large enough for every stage to matter, normalisation above all."""
    net = AlexNet(recipes.recipe(variant).network, width=1 / 24, input_size=SIZE, classes=CLASSES).double()
    with torch.no_grad():
        for w in net.parameters():
            w.normal_(0, 0.5 if w.dim() == 1 else w[0].numel() ** -0.5, generator=random)
    return net


def drawn(random: torch.Generator) -> Tensor:
    return torch.randn(IMAGES, 3, SIZE, SIZE, generator=random, dtype=torch.float64) * 60


def trained(variant: str) -> tuple[dict[str, np.ndarray], list[tuple[np.ndarray, np.ndarray]], list[Step]]:
    """Initial weights, batches and steps of the package's network."""
    random = torch.Generator().manual_seed(2)
    net = narrow(variant, random).train()
    seen: dict[str, np.ndarray] = {}

    def keep(name: str, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        seen[name] = output.detach().numpy().copy()  # the next stage may work in place

    for name, stage in net.named_children():
        stage.register_forward_hook(functools.partial(keep, name))
    optimizer = MomentumSGD(net.named_parameters(), recipes.recipe(variant).optim)

    start, batches, steps = arrays(net), [], []
    torch.manual_seed(3)  # dropout
    for common, of_conv1 in LEARNING_RATES:
        images = drawn(random)
        labels = torch.randint(CLASSES, (IMAGES,), generator=random)
        rates = {"conv1": of_conv1}
        optimizer.set_learning_rates(lambda layer, common=common, rates=rates: rates.get(layer, common))
        loss, _ = update(net, optimizer, images, labels, torch.float64)
        batches.append((images.numpy(), labels.numpy()))
        steps.append(
            Step(
                stages=dict(seen),
                loss=loss,
                gradients={name: w.grad.numpy().copy() for name, w in net.named_parameters() if w.grad is not None},
                velocities={name: optimizer.state[w]["velocity"].numpy().copy() for name, w in net.named_parameters()},
                weights=arrays(net),
            )
        )
    return start, batches, steps


def arrays(net: nn.Module) -> dict[str, np.ndarray]:
    return {name: w.detach().numpy().copy() for name, w in net.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_three_training_steps_equal_the_reference(variant: str):
    start, batches, ours = trained(variant)
    # A unit that is 0 anyway does not show its mask.
    masks = [{name: step.stages[name] != 0 for name in ("drop6", "drop7")} for step in ours]
    settings = [VARIANTS[variant](rate=rate, rates={"conv1": conv1}) for rate, conv1 in LEARNING_RATES]
    theirs = train_steps(start, batches, masks, settings)
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True), 1):
        for name, mask in masks[number - 1].items():
            assert 0.2 < mask[our.stages[name.replace("drop", "relu")] > 0].mean() < 0.8  # dropout took part
        del our.stages["pad1"]  # part of the reference's conv1
        assert our.loss == pytest.approx(their.loss, rel=1e-9, abs=0), f"step {number}"
        for kind in ("stages", "gradients", "velocities", "weights"):
            close(getattr(our, kind), getattr(their, kind), f"step {number}, {kind}")


@pytest.mark.parametrize("variant", VARIANTS)
def test_testing_equals_the_reference(variant: str):
    random = torch.Generator().manual_seed(4)
    net, images = narrow(variant, random).eval(), drawn(random)
    stages, _ = forward(arrays(net), images.numpy(), VARIANTS[variant]())
    close({"fc8": net(images).detach().numpy()}, {"fc8": stages["fc8"]}, "testing")


def close(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], what: str):
    """Within 1e-9 of the largest number of each array."""
    assert set(ours) == set(theirs)
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, f"{what}, {name}"
        largest = abs(expected).max()
        assert largest > 0 and abs(ours[name] - expected).max() <= 1e-9 * largest, f"{what}, {name}"
