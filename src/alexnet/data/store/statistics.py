"""Sums over the training images, from which the mean image and the colour covariance are computed.

The sums are integers: results are exact and do not depend on how the images were shared among workers.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from alexnet.data.image import pixels

MAX_IMAGES_16BIT = 257
"""Images whose sum fits in 16 bits: 257 * 255 < 2 ** 16."""


@dataclass
class Sums:
    """First and second moments, not normalised, over `images` images."""

    images: int
    first: np.ndarray
    """int64 [size, size, 3] (uint16 for `zeros_16bit`): the sum of each value."""
    second: np.ndarray
    """int64 [3, 3]: for each two colours, the sum over all pixels of the product of their values."""

    @classmethod
    def zeros(cls, size: int) -> Self:
        """For any number of images of `size` x `size` pixels."""
        return cls(0, np.zeros((size, size, 3), np.int64), np.zeros((3, 3), np.int64))

    @classmethod
    def zeros_16bit(cls, size: int) -> Self:
        """For at most `MAX_IMAGES_16BIT` images: adding one goes through a quarter of the memory."""
        return cls(0, np.zeros((size, size, 3), np.uint16), np.zeros((3, 3), np.int64))

    def add(self, other: "Sums") -> None:
        """Add the sums over other images."""
        self.images += other.images
        self.first += other.first
        self.second += other.second

    def add_image(self, image: np.ndarray) -> None:
        """`image` is uint8 [size, size, 3]."""
        if self.first.dtype != np.uint16:
            one = Sums.zeros_16bit(len(image))
            one.add_image(image)
            self.add(one)
            return
        assert self.images < MAX_IMAGES_16BIT
        self.images += 1
        pixels.add_moments(image, self.first, self.second)

    def mean(self) -> np.ndarray:
        """The mean image: float32 [size, size, 3], on the 0-255 scale."""
        return (self.first / self.images).astype(np.float32)

    def covariance(self) -> np.ndarray:
        """The covariance of red, green and blue over all pixels (divided by their number): float64 [3, 3]."""
        pixel_count = self.images * self.first.shape[0] * self.first.shape[1]
        sums = [int(value) for value in self.first.sum(axis=(0, 1))]
        # In Python's integers, rounded once: the squares of such sums do not fit in 64 bits.
        rows = [
            [(pixel_count * int(self.second[a, b]) - sums[a] * sums[b]) / pixel_count**2 for b in range(3)]
            for a in range(3)
        ]
        return np.array(rows, np.float64)
