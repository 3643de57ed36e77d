"""The kernels of conv1 (paper, figure 3): by tower, with orientation and colourfulness to sort them by."""

from typing import Any

import numpy as np

from alexnet.explore.arithmetic import weights_of
from alexnet.explore.guard import MissingError
from alexnet.explore.runs import Run
from alexnet.study.tiles import colourfulness, kernel_tiles


def kernels(run: Run) -> dict[str, Any]:
    """`layer`, `size`, `towers`, and `kernels`: of each `unit`, `tower`, `orientation`, `coherence`, `colourfulness`,
    `norm`, and `pixels`, rows of [red, green, blue]."""
    first = run.net.layers[0] if run.net.layers[0].kind == "conv" else run.net.layers[1]
    if first.kind != "conv":
        raise MissingError("This network has no kernels that see the image.")
    weights, _ = weights_of(run, first.name)
    towers = run.net.network.towers
    angles, coherence = orientation(weights)
    colour = colourfulness(weights)
    norms = np.sqrt(np.square(weights).sum((1, 2, 3)))
    pixels = kernel_tiles(weights)
    per_tower = len(weights) // towers
    return {
        "layer": first.name,
        "size": weights.shape[2],
        "towers": towers,
        "kernels": [
            {
                "unit": unit,
                "tower": unit // per_tower + 1,
                "orientation": float(angles[unit]),
                "coherence": float(coherence[unit]),
                "colourfulness": float(colour[unit]),
                "norm": float(norms[unit]),
                "pixels": pixels[unit].tolist(),
            }
            for unit in range(len(weights))
        ],
    }


def orientation(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction of the stripes of kernels [K, 3, H, W] in degrees, 0 to 180 (0: horizontal, 45: rising to the
    right), and how clearly they have one, 0 to 1. From the structure tensor of the gradients of all colours."""
    down, right = (np.diff(weights.astype(np.float64), axis=axis) for axis in (2, 3))
    down = (down[..., :-1] + down[..., 1:]) / 2  # both at the corners between four pixels
    right = (right[..., :-1, :] + right[..., 1:, :]) / 2
    across, along, mixed = ((a * b).sum((1, 2, 3)) for a, b in ((right, right), (down, down), (right, down)))
    gradient = 0.5 * np.arctan2(2 * mixed, across - along)  # its angle, rows counted downwards
    stripes = (90 - np.degrees(gradient)) % 180
    strength = np.hypot(across - along, 2 * mixed) / np.maximum(across + along, 1e-30)
    return stripes, strength
