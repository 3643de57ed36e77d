"""What excites each unit: gathered in one pass over the images of a store, in memory that does not grow with them.

The excitation of a unit by an image is its layer's output, the largest over all positions (before the nonlinearity, so
that also a unit that never passes 0 has one). Of each unit are kept: the images that excite it most, with the position;
how its excitations are distributed; how many are above 0; and their mean over the images of each class.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor

from alexnet.files import durable
from alexnet.files.regular import read_regular
from alexnet.model.layers import Layer

KEPT = 9
"""Images that are kept of each unit."""
BINS = 64
"""Of the distribution of a layer's excitations, between minus and plus its range."""
LARGEST = 1 << 30
"""Bytes of a file."""


class LayerUnits:
    """The units of one layer."""

    def __init__(self, units: int, classes: int) -> None:
        self.value = np.full((units, KEPT), -np.inf, np.float32)
        """Excitation by the images that excite a unit most, largest first."""
        self.image = np.full((units, KEPT), -1, np.int64)
        """Their index in the split; -1 where there are fewer."""
        self.position = np.zeros((units, KEPT), np.int64)
        """Row times width plus column of the largest output."""
        self.counts = np.zeros((units, BINS), np.int64)
        self.range = np.zeros(1)
        self.active = np.zeros(units, np.int64)
        self.sums = np.zeros((classes, units), np.float32)
        """Sum of what of the excitation is above 0, by class."""

    ARRAYS = ("value", "image", "position", "counts", "range", "active", "sums")

    def add(self, first: int, values: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> None:
        """Count the excitations of images `first`, `first` + 1 ...: float32 [B, units], their positions, int64
        [B, units], and the images' labels, int64 [B]."""
        images = np.broadcast_to(np.arange(first, first + len(values))[:, None], values.shape)
        both = np.concatenate([self.value, values.T], 1)
        order = np.argsort(-both, axis=1, kind="stable")[:, :KEPT]
        self.value = np.take_along_axis(both, order, 1)
        self.image = np.take_along_axis(np.concatenate([self.image, images.T], 1), order, 1)
        self.position = np.take_along_axis(np.concatenate([self.position, positions.T], 1), order, 1)
        self._count(values)
        self.active += (values > 0).sum(0)
        np.add.at(self.sums, labels, values.clip(min=0))

    def _count(self, values: np.ndarray) -> None:
        largest = float(np.abs(values).max(initial=0))
        if not self.range[0]:
            self.range[0] = 1.25 * largest or 1.0
        while largest > self.range[0]:  # twice the range: two bins become one
            merged = np.zeros_like(self.counts)
            merged[:, BINS // 4 : 3 * BINS // 4] = self.counts[:, 0::2] + self.counts[:, 1::2]
            self.counts, self.range = merged, 2 * self.range
        bins = ((values / self.range[0] + 1) / 2 * BINS).astype(np.int64).clip(0, BINS - 1)
        units = values.shape[1]
        flat = np.bincount((np.arange(units) * BINS + bins).ravel(), minlength=units * BINS)
        self.counts += flat.reshape(units, BINS)


class Units:
    """What is known of all units after the first `done` images of a split."""

    def __init__(self, layers: Sequence[Layer], classes: int, made_from: dict[str, Any]) -> None:
        """`made_from` says what the numbers depend on, as JSON values."""
        self.layers = {layer.name: LayerUnits(layer.outputs[0], classes) for layer in with_units(layers)}
        self.positions = {layer.name: math.prod(layer.outputs[1:]) for layer in with_units(layers)}
        """Positions of each layer's output."""
        self.digest = np.frombuffer(hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).digest(), np.uint8)
        self.done = 0

    def add(self, excitations: dict[str, tuple[np.ndarray, np.ndarray]], labels: np.ndarray) -> None:
        """Count a batch: of each layer, excitations and positions as `LayerUnits.add` takes them."""
        for name, (values, positions) in excitations.items():
            self.layers[name].add(self.done, values, positions, labels)
        self.done += len(labels)

    def save(self, path: Path) -> None:
        """Write everything to a file, whole or not at all."""
        arrays = {
            f"{name}.{what}": getattr(units, what) for name, units in self.layers.items() for what in units.ARRAYS
        }
        arrays |= {"done": np.array([self.done]), "made_from": self.digest}
        with durable.whole(path) as temporary:
            temporary.write_bytes(save_arrays(arrays))

    def load(self, path: Path, images: int) -> bool:
        """Continue from what `save` wrote of a split of so many images. False, and nothing changes, where it is made
        from something else, damaged, cannot be true, or is not there."""
        try:
            arrays = load_arrays(read_regular(path, LARGEST))
            done = arrays["done"]
            if not np.array_equal(arrays["made_from"], self.digest) or done.shape != (1,) or done.dtype != np.int64:
                return False
            if not 0 <= done[0] <= images:
                return False
            for name, units in self.layers.items():
                found = {what: arrays[f"{name}.{what}"] for what in units.ARRAYS}
                mine = {what: getattr(units, what) for what in units.ARRAYS}
                if any(
                    found[what].shape != array.shape or found[what].dtype != array.dtype for what, array in mine.items()
                ):
                    return False
                if not can_be(found, int(done[0]), self.positions[name]):
                    return False
        except (OSError, KeyError, SafetensorError):
            return False
        for name, units in self.layers.items():
            for what in units.ARRAYS:
                setattr(units, what, arrays[f"{name}.{what}"].copy())
        self.done = int(arrays["done"][0])
        return True


def can_be(found: dict[str, np.ndarray], done: int, positions: int) -> bool:
    """Whether arrays of a layer may have been counted: no image, position or count is out of its range."""
    within = (("image", -1, done - 1), ("position", 0, positions - 1), ("active", 0, done), ("counts", 0, done))
    if not all(np.all((low <= found[what]) & (found[what] <= high)) for what, low, high in within):
        return False
    numbers = (found["range"], found["sums"], found["value"][found["image"] >= 0])
    return all(np.isfinite(each).all() for each in numbers) and found["range"][0] >= 0


def with_units(layers: Sequence[Layer]) -> list[Layer]:
    """The layers whose outputs are units: those with weights."""
    return [layer for layer in layers if layer.weight_shape]


class Watch:
    """Hooks that note the excitations of all units, as the layers return."""

    def __init__(self, net: torch.nn.Module, layers: Sequence[Layer]) -> None:
        self.found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for layer in with_units(layers):
            net.get_submodule(layer.name).register_forward_hook(partial(self._note, layer.name))

    def _note(self, name: str, _module: torch.nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.dim() == 4:
            values, positions = output.flatten(2).max(2)
        else:
            values, positions = output, torch.zeros(output.shape, dtype=torch.int64)
        self.found[name] = values.float().cpu().numpy().copy(), positions.cpu().numpy().copy()
