"""Do another program and our own network compute the same? Reference images, and the comparison of outputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.study.trained import TrainedAlexNet

TOLERANCE = 1e-5
"""Largest difference of outputs, as a fraction of the largest output, or of 1 where that is less."""


def reference_images(size: int) -> list[np.ndarray]:
    """Four images of coloured blocks and noise, always the same: uint8 [H, W, 3], the shorter side of the first
    is `size`."""
    shapes = (size, size * 3 // 2), (size * 2, size + 7), (size - size // 4, size), (size + 1, size + 1)
    images = []
    for seed, (height, width) in enumerate(shapes):
        random = np.random.default_rng(seed)
        blocks = random.integers(0, 256, (7, 9, 3))
        image = blocks[np.arange(height) * 7 // height][:, np.arange(width) * 9 // width]
        images.append((image + random.normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8))
    return images


def reference_views(net: TrainedAlexNet) -> Tensor:
    """The centre views of the reference images, mean subtracted: float32 [4, 3, C, C]."""
    views = [net.preprocess(image) for image in reference_images(net.preprocess.size)]
    return torch.stack(views).contiguous()


@torch.inference_mode()
def logits(net: TrainedAlexNet, x: Tensor) -> np.ndarray:
    """Our own logits of x [B, 3, C, C], in float32: [B, classes]."""
    return net(x).numpy()


@torch.inference_mode()
def probabilities(net: TrainedAlexNet, image: np.ndarray, views: int) -> np.ndarray:
    """Our own softmax output of an image, averaged over its views, in float32: [1, classes]."""
    return net(net.preprocess.image_views(image, views)).softmax(1).mean(0, keepdim=True).numpy()


def compare(ours: np.ndarray, theirs: np.ndarray, who: str, tolerance: float = TOLERANCE) -> float:
    """The largest difference of outputs [B, classes], as a fraction of the largest output (at least 1).

    Raises ValueError, naming `who`, where it is above `tolerance`. Below it the five best classes are the same, but for
    classes whose outputs are nearer to each other than twice the tolerance.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"{who} returns {list(theirs.shape)}, our network {list(ours.shape)}.")
    unit = max(1.0, float(np.abs(ours).max()))
    difference = float(np.abs(ours - theirs).max()) / unit
    if not difference <= tolerance:
        raise ValueError(f"{who} differs from our network by {difference:.2g} of the largest output.")
    return difference


def check_logits(net: TrainedAlexNet, run: Callable[[Tensor], np.ndarray], who: str) -> dict[str, Any]:
    """Compare `run`, from inputs [B, 3, C, C] to logits, with our network: a batch of all images, and one alone.

    Returns `with`, `images` and `largest_difference`. Raises ValueError as `compare`.
    """
    x = reference_views(net)
    ours = logits(net, x)
    difference = max(compare(ours, run(x), who), compare(ours[:1], run(x[:1]), who))
    return {"with": who, "images": len(x), "largest_difference": difference}
