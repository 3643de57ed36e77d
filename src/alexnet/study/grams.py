"""Products of all pairs of images in a layer (`similarity.Gram`), in bounded memory.

A layer of the paper's network has up to 290,400 outputs for an image. Features of N images do not fit into memory, and
the products in feature space, D x D, even less; N x N does: 0.8 GB for 10,000 images. So blocks of images are computed
and multiplied by each other. When two blocks do not fit at once with all others, they are computed again: cheap for the
first layers, which are the wide ones, because nothing after the layer is computed.
"""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from alexnet.data.store.reader import StoreSplit
from alexnet.progress import Progress
from alexnet.study.activations import activations, centre_views
from alexnet.study.similarity import Gram, product
from alexnet.study.trained import TrainedAlexNet

BATCH_SIZE = 64
BLOCK_BYTES = 1 << 29
"""Features in memory: two blocks of this size at a time."""
PRODUCT_BYTES = 1 << 30
"""Products of the layers of a group."""
ROWS = 1024
"""Rows that are multiplied at a time: float32 and float64 products of these stand beside the whole."""


def grams(
    net: TrainedAlexNet, images: StoreSplit, indices: np.ndarray, layers: Sequence[str], bar: Progress
) -> Iterator[tuple[str, Gram]]:
    """The products of the images `indices`, int64 [N], in each of `layers`, for the centre view. Advances `bar` by N
    for each layer."""
    widths = {layer.name: prod(layer.outputs) for layer in net.layers}
    for group in grouped(layers, widths, len(indices)):
        found = _grams(net, images, indices, {name: widths[name] for name in group}, bar)
        while found:
            name = next(iter(found))
            yield name, found.pop(name)


def grouped(layers: Sequence[str], widths: dict[str, int], count: int) -> list[list[str]]:
    """Layers in groups that are computed in one pass: features and products of a group fit into memory."""
    groups: list[list[str]] = []
    for name in layers:
        group = [*groups[-1], name] if groups else [name]
        features = 4 * count * sum(widths[each] for each in group)
        if len(group) > 1 and features <= BLOCK_BYTES and 8 * count**2 * len(group) <= PRODUCT_BYTES:
            groups[-1] = group
        else:
            groups.append([name])
    return groups


def _grams(
    net: TrainedAlexNet, images: StoreSplit, indices: np.ndarray, widths: dict[str, int], bar: Progress
) -> dict[str, Gram]:
    """The products in the layers `widths`, of so many features each, block of images by block."""
    count = len(indices)
    rows = max(1, min(count, BLOCK_BYTES // (4 * sum(widths.values()))))
    blocks = [slice(first, min(first + rows, count)) for first in range(0, count, rows)]
    found = {name: Gram(np.empty((count, count)), np.empty(count), width) for name, width in widths.items()}
    for number, mine in enumerate(blocks):
        x = features(net, images, indices[mine], widths)
        for name, of_layer in found.items():
            multiply(x[name], x[name], of_layer.products[mine, mine])
            of_layer.means[mine] = x[name].mean(1, dtype=np.float64)
        for other in blocks[number + 1 :]:
            y = features(net, images, indices[other], widths)
            for name, of_layer in found.items():
                multiply(x[name], y[name], of_layer.products[mine, other])
                of_layer.products[other, mine] = of_layer.products[mine, other].T
            del y  # before the next one is made
        del x
        bar.advance((mine.stop - mine.start) * len(widths))
    return found


def multiply(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Write x y^T of float32 [n, D] and [m, D] to `out`, float64 [n, m], some rows at a time."""
    for first in range(0, len(x), ROWS):
        out[first : first + ROWS] = product(x[first : first + ROWS], y)


def features(
    net: TrainedAlexNet, images: StoreSplit, indices: np.ndarray, widths: dict[str, int]
) -> dict[str, np.ndarray]:
    """Flattened activations of the images `indices` in the layers `widths`: float32 [N, width] each."""
    found = {name: np.empty((len(indices), width), np.float32) for name, width in widths.items()}
    for first in range(0, len(indices), BATCH_SIZE):
        chosen = slice(first, first + BATCH_SIZE)
        for name, values in activations(net, centre_views(net, read(images, indices[chosen])), list(widths)).items():
            found[name][chosen] = values.reshape(len(values), -1)
    return found


def read(images: StoreSplit, indices: np.ndarray) -> Tensor:
    """The images `indices` of a split: uint8 [N, S, S, 3]."""
    found = np.empty((len(indices), images.size, images.size, 3), np.uint8)
    numbers = indices.tolist()
    images.decode(numbers, [images.encoded(i) for i in numbers], np.zeros((len(numbers), 3), np.int64), found)
    return torch.from_numpy(found)
