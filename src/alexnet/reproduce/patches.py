"""The strongest patches of kernels: the parts of images that each kernel of a convolution answers most to.

A kernel's answer is its output before the ReLU, the largest over all positions in an image; so an image gives one patch
to a kernel. The patch is what the output depends on, its receptive field.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from alexnet.model.fields import fields_of
from alexnet.study.drawing import DPI, INK, WIDTH, box, show
from alexnet.study.tiles import montage
from alexnet.study.trained import TrainedAlexNet

KERNELS_SHOWN = 8


class Strongest(NamedTuple):
    """For each of K kernels the n strongest answers, strongest first, all [K, n]."""

    values: np.ndarray
    images: np.ndarray
    """Numbers of the images."""
    rows: np.ndarray
    columns: np.ndarray


def merged(before: Strongest | None, maps: np.ndarray, first: int, count: int) -> Strongest:
    """The strongest answers so far and those of more images, maps float [B, K, H, W], numbered from `first`."""
    positions = maps.reshape(*maps.shape[:2], -1).argmax(2).T  # [K, B]
    values = maps.max(axis=(2, 3)).T
    images = np.broadcast_to(np.arange(first, first + len(maps)), values.shape)
    new = Strongest(values, images, positions // maps.shape[3], positions % maps.shape[3])
    both = new if before is None else Strongest(*(np.concatenate(pair, 1) for pair in zip(before, new, strict=True)))
    order = np.argsort(-both.values, axis=1, kind="stable")[:, :count]
    return Strongest(*(np.take_along_axis(each, order, 1) for each in both))


def impurity(found: Strongest, labels: np.ndarray) -> float:
    """The fraction of the strongest patches that are not of the class most frequent among those of their kernel, mean
    over kernels; `labels` are those of the images, int64 [N]."""
    classes = labels[found.images]  # [K, n]
    most = [np.bincount(row).max() / len(row) for row in classes]
    return float(1 - np.mean(most))


def patch(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """The part of an image, uint8 [S, S, 3], that begins at (top, left), moved as far as it takes to lie within it."""
    last = len(image) - side
    top, left = min(max(top, 0), last), min(max(left, 0), last)
    return image[top : top + side, left : left + side]


def panel(best: Mapping[str, Strongest], net: TrainedAlexNet, images: Sequence[np.ndarray]) -> Figure:
    """A row for each convolution: eight of its kernels, each with its nine strongest patches in a square."""
    fields = fields_of(net.layers)
    edge = (len(images[0]) - net.network.input_size) // 2
    crop = slice(edge, edge + net.network.input_size)
    gap, left, head = 0.07, 0.62, 0.05  # inches
    cell = (WIDTH - left - gap * KERNELS_SHOWN) / KERNELS_SHOWN
    height = head + len(best) * (cell + gap)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    for line, (name, found) in enumerate(best.items()):
        start, step = fields[name].start, fields[name].step
        side = fields[name].side(net.network.input_size)
        bottom = height - head - (line + 1) * (cell + gap) + gap
        words = f"{name}\n{side} x {side}\npixels"
        figure.text(0.02, (bottom + cell / 2) / height, words, size=7, color=INK, va="center")
        shown = np.linspace(0, len(found.values) - 1, min(KERNELS_SHOWN, len(found.values))).round().astype(int)
        for column, kernel in enumerate(shown):
            tiles = [
                patch(images[image][crop, crop], start + row * step, start + across * step, side)
                for image, row, across in zip(
                    found.images[kernel].tolist(), found.rows[kernel].tolist(), found.columns[kernel].tolist(),
                    strict=True,
                )
            ]  # fmt: skip
            axes = box(figure, left + column * (cell + gap), bottom, cell, cell)
            show(axes, montage(np.stack(tiles), 3, 255, max(1, side // 16)))
            axes.set_frame_on(False)
    return figure
