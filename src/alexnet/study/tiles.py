"""Maps and kernels as pixels, side by side in one array; for figures and for the page of `alexnet explore`."""

import numpy as np


def montage(tiles: np.ndarray, columns: int, blank: float, gap: int) -> np.ndarray:
    """Tiles [N, H, W, ...] row by row in one array, with `gap` pixels of value `blank` between them; what is left of
    the last row is `blank` too."""
    lines = -(-len(tiles) // columns)
    height, width = tiles.shape[1:3]
    shape = (lines * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    whole = np.full(shape, blank, dtype=tiles.dtype)
    for number, tile in enumerate(tiles):
        top, left = (number // columns) * (height + gap), (number % columns) * (width + gap)
        whole[top : top + height, left : left + width] = tile
    return whole


def even_columns(count: int, most: int) -> int:
    """At most `most` columns for `count` tiles; down to half as many if all rows are then equally long."""
    most = max(1, min(count, most))
    return next((columns for columns in range(most, most // 2, -1) if count % columns == 0), most)


def kernel_tiles(weights: np.ndarray) -> np.ndarray:
    """Kernels of colours, float [K, 3, H, W], as in figure 3 of the paper: uint8 [K, H, W, 3].

    Zero is grey. Each kernel is divided by its largest absolute weight, all three colours alike, which keeps hue and
    sign; but by no less than a tenth of the largest of all kernels, so that one that learned nothing looks grey.
    """
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scale = np.maximum(largest, 0.1 * largest.max()).clip(min=1e-12)
    return np.rint(127.5 + 127.5 * weights / scale).astype(np.uint8).transpose(0, 2, 3, 1)


def colourfulness(kernels: np.ndarray) -> np.ndarray:
    """The fraction of each kernel's energy that is not grey, float64 [K]; kernels [K, 3, H, W].

    The grey part of a kernel is the mean of its three colours. Kernels that have learned next to nothing, a tenth of
    the largest, count as grey.
    """
    kernels = kernels.astype(np.float64)
    energy = (kernels**2).sum(axis=(1, 2, 3))
    grey = 3 * (kernels.mean(axis=1) ** 2).sum(axis=(1, 2))
    learned = energy > 0.01 * energy.max()
    return np.where(learned, 1 - grey / np.maximum(energy, 1e-12), 0.0)
