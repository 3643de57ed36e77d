"""The tricks of 2012 (paper, sections 3.1, 3.3, 3.4, 4.1, 4.2), each with a switch, on one image.

The weights stay those of the run: what is switched off here was there when they were trained. So this shows what a
trick does to the maps and labels of an image, not how a network does that was trained without it; the comparisons of
that kind are in docs/fidelity.md.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.config import NetworkConfig
from alexnet.data.augment import colour_shift
from alexnet.data.store.reader import Store
from alexnet.explore import png
from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images
from alexnet.explore.runs import Run
from alexnet.model.layers import layers_of
from alexnet.model.network import AlexNet
from alexnet.study.scores import top5, view_probabilities

PLAIN_PADDING = (1, 1, 1, 0)
"""Padding of conv2 ... conv5 with which pools of 2 x 2 end at the same size (the original program's definition 147)."""
LARGEST_ALPHA = 0.5


class Switches(NamedTuple):
    """The state of all switches; the defaults are testing with one view, as the run is."""

    activation: str = ""
    norm: bool = True
    overlapping: bool = True
    dropout: int | None = None
    """Seed of the masks; None: all units work."""
    top: int | None = None
    left: int | None = None
    mirrored: bool = False
    alphas: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mean: bool = True
    views: int = 1


def parse(query: Mapping[str, str]) -> Switches:
    """The switches of an address: `activation` (relu, tanh), `norm`, `overlapping`, `mirrored`, `mean` (0 or 1),
    `dropout` (a seed), `top` and `left` of the crop, `colour` (three multiples), `views` (1 or 10). ValueError for
    others."""
    activation, views = query.get("activation", ""), query.get("views", "1")
    if activation not in ("", "relu", "tanh") or views not in ("1", "10"):
        raise ValueError("activation is relu or tanh, views is 1 or 10.")
    flags = {name: _flag(query, name, name != "mirrored") for name in ("norm", "overlapping", "mirrored", "mean")}
    numbers = {name: _whole(query, name) for name in ("top", "left", "dropout")}
    try:
        alphas = [float(each) for each in query.get("colour", "0,0,0").split(",")]
    except ValueError:
        alphas = []
    if len(alphas) != 3 or not all(abs(each) <= LARGEST_ALPHA for each in alphas):
        raise ValueError(f"colour is three numbers from -{LARGEST_ALPHA} to {LARGEST_ALPHA}, such as 0.1,0,0.")
    return Switches(activation, alphas=tuple(alphas), views=int(views), **flags, **numbers)  # type: ignore[arg-type]


def _flag(query: Mapping[str, str], name: str, default: bool) -> bool:
    text = query.get(name, "1" if default else "0")
    if text not in ("0", "1"):
        raise ValueError(f"{name} is 0 or 1.")
    return text == "1"


def _whole(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{name} is a whole number, 0 or more.")
    return int(text)


def variant(network: NetworkConfig, switches: Switches) -> NetworkConfig:
    """The settings of the network with switches off: pools that do not overlap are 2 x 2 with stride 2."""
    changes: dict[str, Any] = {}
    if switches.activation:
        changes["activation"] = switches.activation
    if not switches.norm:
        changes |= {"lrn": "none", "spatial_norm_alpha": 0.0}
    if not switches.overlapping:
        changes |= {"pool_size": 2, "pool_stride": 2}
    changed = dataclasses.replace(network, **changes)
    if not switches.overlapping and len(network.padding) == 5 and not fits(network, changed):
        other = dataclasses.replace(changed, padding=(network.padding[0], *PLAIN_PADDING))
        return other if fits(network, other) else changed
    return changed


def fits(network: NetworkConfig, changed: NetworkConfig) -> bool:
    """Whether the weights of one network have the shapes of the other's."""
    try:
        first, second = (layers_of(each) for each in (network, changed))
    except ValueError:
        return False
    return [each.weight_shape for each in first if each.weight_shape] == [
        each.weight_shape for each in second if each.weight_shape
    ]


class Tried(NamedTuple):
    """What came of it."""

    shown: np.ndarray
    """The network's input as colours, uint8 [C, C, 3]."""
    maps: np.ndarray
    """float32 [channels, H, W]: the last stage before conv2."""
    scores: Tensor | None
    """Probabilities, float32 [classes]; None where the weights do not fit."""
    zero: float
    """Fraction of conv1's activations that are exactly 0."""
    saturated: float
    """Fraction that is above 0.99 or below -0.99."""


def shift_of(run: Run, store: Store | None, alphas: tuple[float, float, float]) -> np.ndarray:
    """What colour noise adds to each pixel: float32 [3], grey levels of red, green and blue."""
    if not any(alphas):
        return np.zeros(3, np.float32)
    if store is None:
        raise MissingError("The axes of colour are those of a store; start alexnet explore with --data STORE.")
    return colour_shift(np.array([alphas], np.float32), store.covariance, run.net.config.augment.colour_scale)[0]


def inputs(run: Run, pixels: np.ndarray, switches: Switches, shift: np.ndarray) -> Tensor:
    """The network's input under the switches: float32 [V, 3, C, C]."""
    prepare, crop = run.net.preprocess, run.net.preprocess.crop
    edge = prepare.size - crop
    top, left = (edge // 2 if at is None else min(at, edge) for at in (switches.top, switches.left))
    boxes = run.view_boxes(10) if switches.views == 10 else [(top, left, switches.mirrored)]
    image, mean = pixels.astype(np.float32) + shift, prepare.mean.numpy()
    views = []
    for y, x, mirrored in boxes:
        part, subtracted = (each[y : y + crop, x : x + crop] for each in (image, mean))
        part, subtracted = (each[:, ::-1] if mirrored else each for each in (part, subtracted))
        if prepare.central:
            subtracted = mean[edge // 2 : edge // 2 + crop, edge // 2 : edge // 2 + crop]
        views.append(part - subtracted if switches.mean else part)
    return torch.from_numpy(np.stack(views).transpose(0, 3, 1, 2).copy())


@torch.inference_mode()
def attempt(run: Run, images: Images, image: str, switches: Switches) -> Tried:
    """The image through the network with these switches."""
    x = inputs(run, run.pixels(images, image), switches, shift_of(run, images.store, switches.alphas))
    shown = x[0].numpy().transpose(1, 2, 0) + (128 if switches.mean else 0)
    network = run.net.network
    changed = variant(network, switches)
    fitting = fits(network, changed)
    with torch.device("meta"):
        net = AlexNet(changed).eval()
    own = net.state_dict()
    weights = {k: v for k, v in run.net.state_dict().items() if fitting or own[k].shape == v.shape}
    net.load_state_dict(weights, strict=False, assign=True)
    x = x.to(next(run.net.parameters()).device)
    stages = list(layers_of(changed))
    second = next((i for i, layer in enumerate(stages) if layer.name in ("conv2", "conv3", "fc6")), len(stages))
    activations = maps = x
    for layer in stages[:second]:
        maps = net.get_submodule(layer.name)(maps)
        if layer.kind == "activation":
            activations = maps
    scores = None
    if changed == network and switches.dropout is None:  # as `alexnet predict` has them, to the last digit
        with run.forward:
            scores = view_probabilities(run.net, x).mean(0).cpu()
    elif fitting:
        with torch.random.fork_rng(devices=[]):
            if switches.dropout is not None:
                torch.manual_seed(switches.dropout)
                for layer in stages:
                    if layer.kind == "dropout":
                        net.get_submodule(layer.name).train()
            scores = net(x).float().softmax(1).mean(0).cpu()
    return Tried(
        np.rint(shown.clip(0, 255)).astype(np.uint8),
        maps[0].float().cpu().numpy(),
        scores,
        float((activations == 0).float().mean()),
        float((activations.abs() > 0.99).float().mean()),
    )


def tricks(run: Run, images: Images, image: str, switches: Switches) -> dict[str, Any]:
    """`top5` (None where the weights do not fit), `zero` and `saturated` fractions of conv1's activations, `maps` (how
    many, and their shape), `crops` (how many crops and mirrors there are), `shift` of the colours, `edge`."""
    tried = attempt(run, images, image, switches)
    prepare = run.net.preprocess
    edge = prepare.size - prepare.crop
    return {
        "top5": None if tried.scores is None else top5(tried.scores, run.net.classes),
        "zero": tried.zero,
        "saturated": tried.saturated,
        "maps": list(tried.maps.shape),
        "crops": 2 * edge * edge,
        "edge": edge,
        "shift": shift_of(run, images.store, switches.alphas).tolist(),
        "dropout": run.net.network.dropout,
        "activation": run.net.network.activation,
        "has_norm": run.net.network.lrn != "none",
        "overlapping": run.net.network.pool_size > run.net.network.pool_stride,
    }


def maps_png(tried: Tried) -> bytes:
    """PNG of the maps, row by row."""
    return png.encode_maps(png.tile(tried.maps, 1), *png.scale_of(tried.maps))
