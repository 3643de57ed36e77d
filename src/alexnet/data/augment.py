"""The random choices of an epoch: order, crops, mirroring and colours (paper, section 4.1).

They are a function of seed, epoch and position in the epoch alone, never of the number of workers. Images are RGB on
the 0-255 scale.
"""

from typing import NamedTuple

import numpy as np

from alexnet.config import AugmentConfig


class Draws(NamedTuple):
    """The random choices of one epoch, a row for each position in it."""

    order: np.ndarray
    """int64 [N]: the index of the image at each position, a permutation."""
    offsets: np.ndarray
    """int64 [N, 2]: top and left of the crop."""
    mirrored: np.ndarray
    """bool [N]."""
    colour_alphas: np.ndarray
    """float32 [N, 3]: the paper's alpha, multiples of the three principal components of colour."""


def draw_epoch(config: AugmentConfig, images: int, size: int, crop: int, seed: int, epoch: int) -> Draws:
    """Everything random about one epoch of `images` images of `size` pixels, cropped to `crop` pixels.

    The paper counts 32 x 32 offsets for 256 and 224 pixels. That is `size - crop` along each axis, and one more with
    `config.include_last_offset`. `config.images_per_crop` consecutive positions share an offset and mirroring.
    """
    random = _generator(seed, epoch)
    order = random.permutation(images)
    if config.shuffle == "once":
        order = _generator(seed, 0).permutation(images)
    crops = -(-images // config.images_per_crop)
    offset_count = size - crop + 1 if config.include_last_offset else max(1, size - crop)
    offsets = random.integers(0, offset_count, (crops, 2)).repeat(config.images_per_crop, axis=0)[:images]
    mirrored = (random.random(crops) < 0.5).repeat(config.images_per_crop)[:images]
    colour_alphas = random.standard_normal((images, 3), dtype=np.float32) * np.float32(config.colour_noise)
    if not config.random_crop:
        offsets[:] = (size - crop) // 2
    if not config.mirror:
        mirrored[:] = False
    return Draws(order, offsets, mirrored, colour_alphas)


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))


def colour_axes(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The principal components of colour: eigenvalues [3], ascending, and eigenvectors [3, 3], in columns."""
    return np.linalg.eigh(np.asarray(covariance, dtype=np.float64))


def colour_shift(alphas: np.ndarray, covariance: np.ndarray, scale: str = "eigenvalues") -> np.ndarray:
    """What is added to every pixel of each image, P (alpha * lambda): float32 [B, 3] on the 0-255 scale.

    The paper's formula holds for intensities between 0 and 1, which the paper does not say. On the 0-255 scale, one
    standard deviation along the first axis would be some 1,500 grey levels; so lambda is divided by 255. With `scale`
    "standard-deviations", the square roots of the eigenvalues take their place, as in the original program.
    """
    eigenvalues, axes = colour_axes(covariance)
    lengths = np.sqrt(eigenvalues.clip(min=0)) if scale == "standard-deviations" else eigenvalues / 255.0
    return ((alphas * lengths) @ axes.T).astype(np.float32)
