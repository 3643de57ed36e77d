"""What happens to an image between the store and the network (paper, sections 2 and 4.1).

All images are RGB on the 0-255 scale, height x width x 3. Random numbers are a pure function of (seed, epoch,
position in the epoch): they do not depend on the number of workers.
"""

from typing import NamedTuple

import numpy as np

from alexnet.config import AugmentConfig


class Draws(NamedTuple):
    """The random choices of one epoch, one row for each position in it."""

    order: np.ndarray
    """int64 [N]: which image stands at each position, a permutation."""
    offsets: np.ndarray
    """int64 [N, 2]: top and left of the patch."""
    mirrored: np.ndarray
    """bool [N]."""
    colour: np.ndarray
    """float32 [N, 3]: multiples of the three principal components."""


def draw_epoch(config: AugmentConfig, images: int, size: int, crop: int, seed: int, epoch: int) -> Draws:
    """Everything random about the data of one epoch, for images of `size` cut to `crop` pixels.

    The paper counts 32 x 32 offsets for 256 and 224 pixels; this is `size - crop` for each axis, and one more with
    `config.include_last_offset`. `config.images_per_crop` consecutive positions share an offset and mirroring.
    """
    random = _generator(seed, epoch)
    order = random.permutation(images)
    if config.shuffle == "once":
        order = _generator(seed, 0).permutation(images)
    draws = -(-images // config.images_per_crop)
    places = size - crop + 1 if config.include_last_offset else max(1, size - crop)
    offsets = random.integers(0, places, (draws, 2)).repeat(config.images_per_crop, axis=0)[:images]
    mirrored = (random.random(draws) < 0.5).repeat(config.images_per_crop)[:images]
    colour = random.standard_normal((images, 3), dtype=np.float32) * np.float32(config.colour_noise)
    if not config.random_crop:
        offsets[:] = (size - crop) // 2
    if not config.mirror:
        mirrored[:] = False
    return Draws(order, offsets, mirrored, colour)


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))


def colour_axes(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [3], ascending, and eigenvectors [3, 3], in columns, of the RGB covariance (section 4.1)."""
    return np.linalg.eigh(np.asarray(covariance, dtype=np.float64))


def colour_shift(multiples: np.ndarray, covariance: np.ndarray, rule: str = "eigenvalues") -> np.ndarray:
    """What is added to every pixel of each image: P (alpha * lambda), float32 [B, 3] on the 0-255 scale.

    The paper's formula is for intensities between 0 and 1, which it does not say: taken on the 0-255 scale, one
    standard deviation along the first axis would be some 1,500 grey levels. lambda is therefore divided by 255.
    With `rule` "standard-deviations" their roots stand for the eigenvalues, as in the original program.
    """
    eigenvalues, axes = colour_axes(covariance)
    lengths = np.sqrt(eigenvalues.clip(min=0)) if rule == "standard-deviations" else eigenvalues / 255.0
    return ((multiples * lengths) @ axes.T).astype(np.float32)
