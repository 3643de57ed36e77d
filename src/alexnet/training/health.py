"""Signs of a training that goes wrong, seen early and said in words: chance, explosion, dead ReLUs, not-a-number."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from alexnet.model.linear import gradient
from alexnet.training.checkpoint import way_back

DEAD_SHARE = 0.5
STEPS_AT_CHANCE = 200
EXPLODED = 10
"""Times the loss of guessing: no network that learns gets there, an exploding one passes it on the way to infinity."""


class LossWatch:
    """Remembers the recent losses of `network`, and speaks once when they have stayed at chance, and once when they
    explode; says which checkpoint of `run` there is to go back to."""

    def __init__(self, classes: int, network: nn.Module, run: Path) -> None:
        self.chance, self.network, self.run = math.log(classes), network, run
        self.mean: float | None = None
        self.steps, self.warned, self.exploded = 0, False, False

    def observe(self, loss: float) -> str | None:
        """A warning when, after `STEPS_AT_CHANCE` steps, the running mean of the loss is still near ln(classes), or
        when a loss is `EXPLODED` times that. The gradients of this step are looked at then."""
        self.steps += 1
        if loss > EXPLODED * self.chance and not self.exploded:
            self.exploded = True
            return (
                f"the loss is {loss:.3g}, where guessing gives {self.chance:.3f}{steepest(self.network)}: the "
                f"gradients explode. {way_back(self.run)}: go back to it with a lower --optim.lr or a warm-up "
                "(--schedule.warmup-steps)."
            )
        self.mean = loss if self.mean is None else 0.95 * self.mean + 0.05 * loss
        if self.warned or self.steps < STEPS_AT_CHANCE or self.mean < 0.98 * self.chance:
            return None
        self.warned = True
        return (
            f"after {self.steps} steps the loss is {self.mean:.3f}, where guessing gives {self.chance:.3f}: the "
            "network has not left its starting plateau. The initial weights of 2012 can take thousands of steps on "
            "few images; try --recipe small, larger network.initial-std, or another --optim.lr. Had it learned more "
            f"before, {way_back(self.run)}."
        )


@torch.no_grad()
def dead_units(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The share of each ReLU's units (kernels, or neurons of fc6 and fc7) that no image of the batch activates.

    `images` is what the network takes, [B, 3, S, S]. Keys are stage names such as `relu3`.
    """
    shares: dict[str, float] = {}

    def hook(name: str):
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            active = (output > 0).transpose(0, 1).flatten(1).any(1)  # [units]
            shares[name] = 1 - active.float().mean().item()

        return look

    hooks = [m.register_forward_hook(hook(n)) for n, m in network.named_modules() if isinstance(m, nn.ReLU)]
    try:
        network(images)
    finally:
        for handle in hooks:
            handle.remove()
    return shares


def dead_warning(shares: dict[str, float]) -> str | None:
    """A sentence about the layers in which more than half of the units are silent."""
    dead = [f"{name} {share:.0%}" for name, share in shares.items() if share > DEAD_SHARE]
    if not dead:
        return None
    return (
        f"dead ReLUs: {', '.join(dead)} of the units answer to no image of a batch. A lower --optim.lr or a "
        "warm-up (--schedule.warmup-steps) keeps them alive."
    )


@torch.no_grad()
def steepest(network: nn.Module) -> str:
    """The parameter with the longest gradient beside its own length, in words; empty without gradients."""
    lengths = {}
    for name, parameter in network.named_parameters():
        if (slope := gradient(parameter)) is not None:
            lengths[name] = slope.norm().item(), parameter.norm().item()
    if not lengths:
        return ""
    name = max(lengths, key=lambda each: lengths[each][0] / max(lengths[each][1], 1e-12))
    slope, weights = lengths[name]
    return f" and the gradient of {name} has length {slope:.3g} beside its own {weights:.3g}"


def first_bad_layer(network: nn.Module) -> str | None:
    """The first layer whose weights or gradients are not finite, with which of the two."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name}"
        if (slope := gradient(parameter)) is not None and not slope.isfinite().all():
            return f"the gradient of {name}"
    return None
