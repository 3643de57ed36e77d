"""Signs that a training goes wrong, found early and put in words: chance, explosion, dead ReLUs, not-a-number."""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from alexnet.config import TrainConfig
from alexnet.files.words import counted
from alexnet.model.linear import gradient
from alexnet.recipes import ENOUGH_STEPS
from alexnet.training.checkpoint import last_in_words

DEAD_FRACTION = 0.5
"""Fraction of dead units in a layer above which there is a warning."""
STEPS_AT_CHANCE = 200
"""Steps after which the loss should be below that of guessing."""
EXPLODED = 10
"""Multiple of the loss of guessing that only exploding gradients reach."""


def is_chance(top1_error: float, classes: int) -> bool:
    """Whether a top-1 error is about that of guessing."""
    return top1_error > 0.95 * (1 - 1 / classes)


class LossWatch:
    """Watches the loss and the error of `network` while it trains as `config` says. Warns once when both stay at
    chance, and once when the loss explodes. A warning names the last checkpoint of `run`."""

    def __init__(self, config: TrainConfig, network: nn.Module, run: Path, steps_per_epoch: int) -> None:
        self.config, self.network, self.run, self.steps_per_epoch = config, network, run, steps_per_epoch
        self.chance = math.log(config.network.classes)
        self.mean: float | None = None
        self.mean_error = 1.0
        self.steps, self.warned, self.exploded = 0, False, False

    def observe(self, loss: float, top1_error: float) -> str | None:
        """A warning when, after `STEPS_AT_CHANCE` steps, the running means of the loss and of the top-1 error of the
        batches are still near those of guessing, or when one loss is `EXPLODED` times ln(classes). It must be called
        before the gradients of the step are cleared."""
        self.steps += 1
        if loss > EXPLODED * self.chance and not self.exploded:
            self.exploded = True
            return (
                f"the loss is {loss:.3g}, where guessing gives {self.chance:.3f}{steepest_gradient(self.network)}: the "
                f"gradients explode. {last_in_words(self.run)} Train with a lower --optim.lr or with "
                "--schedule.warmup-steps."
            )
        first = self.mean is None
        self.mean = loss if self.mean is None else 0.95 * self.mean + 0.05 * loss
        self.mean_error = top1_error if first else 0.95 * self.mean_error + 0.05 * top1_error
        return self._at_chance() if self.steps >= STEPS_AT_CHANCE else None

    def end(self, top1_error: float | None) -> str | None:
        """A warning when the training ends with loss and error still at chance, however few steps it had. None where
        the best validation error, if there is one, is below that of guessing: dropout raises what training measures."""
        learned = top1_error is not None and not is_chance(top1_error, self.config.network.classes)
        return None if learned else self._at_chance()

    def _at_chance(self) -> str | None:
        if self.warned or self.mean is None or self.mean < 0.98 * self.chance:
            return None
        if not is_chance(self.mean_error, self.config.network.classes):  # a new last layer begins with a loss of chance
            return None
        self.warned = True
        epochs = counted(float(f"{self.steps / self.steps_per_epoch:.2g}"), "epoch")
        return (
            f"after {epochs} ({counted(self.steps, 'step')}) the loss is {self.mean:.3f}, where guessing gives "
            f"{self.chance:.3f}: the network has not begun to learn. {self._advice()} {last_in_words(self.run)}"
        )

    def _advice(self) -> str:
        """What to try with the recipe in use."""
        if self.config.recipe == "small":
            planned = self.config.epochs * self.steps_per_epoch
            if planned < ENOUGH_STEPS:
                more = math.ceil(ENOUGH_STEPS / self.steps_per_epoch)
                return f"Recipe small needs some {ENOUGH_STEPS} steps, and {planned} are planned: try --epochs {more}."
            return "Try another --optim.lr, and see that each image is in the folder of its class."
        return (
            f"With few images, the initial weights of recipe {self.config.recipe} can need thousands of steps; try "
            "--recipe small, a larger --network.initial-std, or another --optim.lr."
        )


@torch.no_grad()
def relus(network: nn.Module) -> dict[str, nn.ReLU]:
    """The ReLUs by the names of their stages, such as `relu3`."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.ReLU)}


def dead_units(network: nn.Module, images: Tensor) -> dict[str, float]:
    """The fraction of each ReLU's units (channels, or units of fc6 and fc7) that are 0 for all `images`.

    `images` is the network's input, [B, 3, S, S]. Keys are stage names such as `relu3`.
    """
    fractions: dict[str, float] = {}

    def hook(name: str):
        def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            active = (output > 0).transpose(0, 1).flatten(1).any(1)  # [units]
            fractions[name] = 1 - active.float().mean().item()

        return look

    hooks = [module.register_forward_hook(hook(name)) for name, module in relus(network).items()]
    try:
        network(images)
    finally:
        for handle in hooks:
            handle.remove()
    return fractions


def dead_warning(fractions: dict[str, float]) -> str | None:
    """A sentence about the layers in which more than half of the units are dead."""
    dead = [f"{name} {fraction:.0%}" for name, fraction in fractions.items() if fraction > DEAD_FRACTION]
    if not dead:
        return None
    return (
        f"dead ReLUs: these fractions of the units are 0 for a whole batch: {', '.join(dead)}. A lower --optim.lr, or "
        "--schedule.warmup-steps, keeps them alive."
    )


@torch.no_grad()
def steepest_gradient(network: nn.Module) -> str:
    """In words, the parameter whose gradient is longest relative to the parameter; empty without gradients."""
    lengths = {}
    for name, parameter in network.named_parameters():
        if (slope := gradient(parameter)) is not None:
            lengths[name] = slope.norm().item(), parameter.norm().item()
    if not lengths:
        return ""
    name = max(lengths, key=lambda each: lengths[each][0] / max(lengths[each][1], 1e-12))
    slope, weights = lengths[name]
    return f" and the gradient of {name} has norm {slope:.3g}, the parameter {weights:.3g}"


@torch.no_grad()
def first_not_finite(network: nn.Module) -> str | None:
    """The first parameter that is not finite, or whose gradient is not, and which of the two."""
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name}"
        if (slope := gradient(parameter)) is not None and not slope.isfinite().all():
            return f"the gradient of {name}"
    return None


def check_loss(loss: float, network: nn.Module, run: Path, step: int, lr: float) -> None:
    """FloatingPointError, naming the layer and the last checkpoint, unless the loss is finite."""
    if not math.isfinite(loss):
        where = first_not_finite(network)
        trouble = f"The loss is not a number at step {step}" + (f", {where} is not finite" if where else "")
        raise FloatingPointError(f"{trouble}. {_way_out(run, lr)}")


def check_weights(network: nn.Module, run: Path, step: int, lr: float) -> None:
    """FloatingPointError unless weights and gradients are finite: a finite loss can have an update that is not."""
    if (where := first_not_finite(network)) is not None:
        raise FloatingPointError(f"After step {step}, {where} is not finite. {_way_out(run, lr)}")


def _way_out(run: Path, lr: float) -> str:
    return f"{last_in_words(run)} Run the same command with --optim.lr {lr / 2:g} or --schedule.warmup-steps 500."
