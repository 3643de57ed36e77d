"""Is this network trained, or does it still have random weights?

Networks with random weights have been published, and measured for months, as trained ones. Three signs tell:

- conv1. Trained kernels are smooth and have few colours (figure 3 of the paper): a weight resembles the one beside it.
  Of independent random weights, however they were drawn, each such correlation r over n pairs is near 0, and
  z = r sqrt(n) is a standard normal number. A network that has just begun to learn still looks random; what it has
  learned, the difference from the initial weights of its seed, does not. This takes a millisecond.
- Outputs over noise. Random weights answer every image alike.
- The errors on labelled images: whether labels and answers are independent.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.config import NetworkConfig
from alexnet.model.layers import layers_of
from alexnet.model.network import AlexNet, draw_gaussian, drawn_seed
from alexnet.study.outputs import warn
from alexnet.study.scores import image_probabilities
from alexnet.study.trained import TrainedAlexNet

STRUCTURED = 6.0
"""Standard deviations that no correlation between random weights reaches: 2e-9 is the probability of more."""
UNTOUCHED = 1e-6
"""Relative difference from the initial weights that rounding explains."""
CONSTANT = 0.02
"""Total variation between outputs below which they are the same answer. The initial weights of the networks here stay
below 0.001, those of PyTorch's own initialisation below 0.1; a network after two epochs of `alexnet demo` is above 0.1.
"""
GUESSING = 3.0
"""Standard deviations above guessing that labelled images must show: 0.1 % of random networks do."""
NOISE_IMAGES = 16


class Conv1(NamedTuple):
    """How far conv1 is from independent random weights, in standard deviations."""

    weights: float
    """The weights themselves."""
    learned: float
    """Their difference from the initial weights of the run's own seed; infinite where they are not made from those."""


def random_weights(net: TrainedAlexNet) -> str | None:
    """Why the weights look random, as the end of a sentence; None where they look trained. Takes about a millisecond,
    and looks at conv1 and at the biases and weights of the last layer."""
    conv1 = inspect_conv1(net)
    if conv1.weights < STRUCTURED:
        if conv1.learned == 0:
            return f"conv1 still has the initial weights of seed {net.config.seed}"
        if conv1.learned < STRUCTURED or math.isinf(conv1.learned):
            return f"conv1 cannot be told from random numbers ({conv1.weights:.1f} standard deviations)"
    last = net.layers[-1].name
    if is_fresh(net.get_submodule(last)):
        return f"{last} cannot be told from initial weights"
    return None


def warn_if_random(net: TrainedAlexNet, who: object) -> str | None:
    """`random_weights`, and a line on standard error, with `who` (the run), where they look random."""
    why = random_weights(net)
    if why is not None:
        warn(f"THE WEIGHTS OF {who} ARE RANDOM: {why}. Nothing here is the work of a trained network.")
    return why


@torch.no_grad()
def randomise(net: TrainedAlexNet, seed: int) -> None:
    """Give the network fresh initial weights, those that `alexnet train --seed SEED` begins with: a control."""
    net.load_state_dict(AlexNet(net.network, generator=torch.Generator().manual_seed(seed)).state_dict())


def inspect_conv1(net: TrainedAlexNet) -> Conv1:
    """How far conv1's kernels are from independent random weights."""
    weights = net.get_submodule("conv1").weight.detach().to("cpu", torch.float64)  # type: ignore[union-attr]
    initial = initial_conv1(net.network, net.config.seed).double()
    kept = float((weights * initial).sum() / (initial * initial).sum())
    learned = weights - kept * initial
    size = float(weights.norm())
    if float(learned.norm()) <= UNTOUCHED * size:
        return Conv1(structure(weights), 0.0)
    # Initial weights of another seed, or another program's, have no share in these: about 0, give or take 1 / sqrt(n).
    related = kept * float(initial.norm()) > 0.5 * size
    return Conv1(structure(weights), structure(learned) if related else math.inf)


def structure(weights: Tensor) -> float:
    """The largest of three correlations in kernels [K, 3, H, W], in standard deviations of random weights: between
    neighbours in a column, between neighbours in a row, and between colours."""
    x = weights - weights.mean()
    x = x / x.square().mean().sqrt().clamp(min=1e-300)
    colours = x.shape[1]
    colour_pairs = (x.sum(1).square() - x.square().sum(1)) / 2  # [K, H, W], each a sum over pairs of colours
    colour = colour_pairs / math.sqrt(colours * (colours - 1) / 2)
    pairs = (x[:, :, 1:] * x[:, :, :-1], x[..., 1:] * x[..., :-1], colour)
    return max(abs(float(products.sum())) / math.sqrt(products.numel()) for products in pairs)


def initial_conv1(network: NetworkConfig, seed: int) -> Tensor:
    """The initial weights of conv1 that `alexnet train --seed SEED` begins with: float32 [K, 3, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    shape = next(layer.weight_shape for layer in layers_of(network) if layer.name == "conv1")
    if network.initial_std:
        return draw_gaussian(torch.empty(shape), network.initial_std[0], drawn_seed(generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn_seed(generator))
        return nn.Conv2d(shape[1], shape[0], shape[2]).weight.detach()


def is_fresh(layer: nn.Module) -> bool:
    """Whether a fully connected layer has just been initialised: one value for all biases, and rows of weights
    [N, D] of the same length, as only chance varies it. The first step of a training moves every bias."""
    weight, bias = layer.weight.detach().cpu(), layer.bias.detach().cpu()  # type: ignore[union-attr,operator]
    if len(bias) < 2 or bool((bias != bias[0]).any()):
        return False
    lengths = weight.double().square().mean(1)  # [N]
    spread = float(lengths.std() / lengths.mean().clamp(min=1e-300))
    expected = math.sqrt(2 / weight.shape[1])  # of the mean of D squared normal numbers
    return spread < expected * (1 + STRUCTURED / math.sqrt(2 * (len(bias) - 1)))


def noise_images(size: int, count: int = NOISE_IMAGES) -> Tensor:
    """Noise, from single pixels to large patches, always the same: uint8 [count, size, size, 3]."""
    images = []
    for number in range(count):
        random = np.random.default_rng(number)
        patches = (size, size // 4, size // 16, 4)[number % 4] or 1
        coarse = random.integers(0, 256, (patches, patches, 3), dtype=np.uint8)
        images.append(coarse[np.arange(size) * patches // size][:, np.arange(size) * patches // size])
    return torch.from_numpy(np.stack(images))


def outputs_over_noise(net: TrainedAlexNet) -> float:
    """How much the probabilities of noise images differ: the largest total variation between one and their mean,
    from 0 (all are the same) to 1."""
    found = image_probabilities(net, noise_images(net.preprocess.size), 1).double()
    return float((found - found.mean(0)).abs().sum(1).max() / 2)


def above_guessing(guesses: np.ndarray, truths: np.ndarray, classes: int) -> float:
    """By how many standard deviations answers agree with labels more often than when the labels are shuffled.

    `guesses` and `truths` are int64 [N]. 0 for a network that gives every image the same label, whatever the labels.
    """
    n = len(truths)
    given, true = (np.bincount(labels, minlength=classes).astype(np.float64) for labels in (guesses, truths))
    agree = given * true
    variance = (agree.sum() - (agree * (given + true)).sum() / n + (agree.sum() / n) ** 2) / max(1, n - 1)
    above = float((guesses == truths).sum() - agree.sum() / n)
    return above / math.sqrt(variance) if variance > 1e-9 else 0.0
