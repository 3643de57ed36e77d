"""What happens to an image between the store and the network (paper, sections 2 and 4.1).

All images are RGB on the 0-255 scale, height x width x 3. Random numbers are a pure function of (seed, epoch,
position in the epoch): they do not depend on the number of workers.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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


def remove_mean(
    patches: Tensor,
    mean: Tensor,
    offsets: np.ndarray,
    mirrored: np.ndarray,
    shift: Tensor,
    dtype: torch.dtype,
    *,
    central: bool = False,
    divisor: float = 1.0,
) -> Tensor:
    """Subtract from each patch its own part of the mean image, mirrored with it, and add the colour shift.

    `patches` uint8 [B, C, C, 3]; `mean` float32 [S, S, 3]; `shift` float32 [B, 3]. Returns [B, 3, C, C] of `dtype`
    in channels-last memory. Works where the tensors are: patches travel to an accelerator as bytes.
    With `central` it is always the centre of the mean image, never mirrored; the result is divided by `divisor`.
    """
    size, crop = mean.shape[0], patches.shape[1]
    flipped = mean.flip(1)
    result = torch.empty(patches.shape, dtype=dtype, device=patches.device)
    for i, ((top, left), mirror) in enumerate(zip(offsets.tolist(), mirrored.tolist(), strict=True)):
        if central:
            top = left = (size - crop) // 2
            mirror = False
        elif mirror:
            left = size - crop - left
        window = (flipped if mirror else mean)[top : top + crop, left : left + crop]
        torch.sub(patches[i], window - shift[i], out=result[i])
    if divisor != 1:
        result /= divisor
    return result.permute(0, 3, 1, 2)


def subtract_mean(images: Tensor, mean: Tensor) -> Tensor:
    """Whole images, for testing: uint8 [B, S, S, 3] to float32 [B, 3, S, S] in channels-last memory."""
    return (images - mean).permute(0, 3, 1, 2)


def centre_view(x: Tensor, crop: int) -> Tensor:
    """The central patch: [..., S, S] to [..., crop, crop]."""
    edge = (x.shape[-1] - crop) // 2
    return x[..., edge : edge + crop, edge : edge + crop]


def ten_views(x: Tensor, crop: int) -> Tensor:
    """Four corners and the centre, then their mirrors (section 4.1): [B, 3, S, S] to [B, 10, 3, crop, crop].

    Order of the first five: top left, top right, centre, bottom left, bottom right.
    """
    edge = x.shape[-1] - crop
    corners = [(0, 0), (0, edge), (edge // 2, edge // 2), (edge, 0), (edge, edge)]
    views = [x[..., top : top + crop, left : left + crop] for top, left in corners]
    return torch.stack(views + [view.flip(-1) for view in views], dim=1)


def views_to_test(images: Tensor, mean: Tensor, crop: int, views: int, central: bool = False) -> Tensor:
    """The centre view (`views` 1) or the ten views of whole images, mean removed: float32 [B, views, 3, crop, crop].

    `images` uint8 [B, S, S, 3], `mean` float32 [S, S, 3]. Each view loses its own part of the mean image, or with
    `central` (original program) the mean image's centre, not mirrored. For the centre view it is the same.
    """
    whole = images.permute(0, 3, 1, 2).float() if central else subtract_mean(images, mean)  # [B, 3, S, S]
    cut = centre_view(whole, crop)[:, None] if views == 1 else ten_views(whole, crop)
    return cut - centre_view(mean.permute(2, 0, 1), crop) if central else cut
