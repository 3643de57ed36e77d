"""Sums over images, of which the mean image and the colour covariance are made.

They are whole numbers, so that the results are exact and do not depend on how the images were dealt out.
"""

from dataclasses import dataclass

import numpy as np

from alexnet.data.image import pixels

MOST_IN_16_BITS = 257  # images: 257 * 255 < 2 ** 16


@dataclass
class Sums:
    """What mean and covariance are made of: over `images` images, the sum of every value, int64
    [size, size, 3] (uint16 for a `few`), and of the products of every pixel's values with each other, int64 [3, 3].
    """

    images: int
    values: np.ndarray
    products: np.ndarray

    @classmethod
    def none(cls, size: int) -> "Sums":
        return cls(0, np.zeros((size, size, 3), np.int64), np.zeros((3, 3), np.int64))

    @classmethod
    def few(cls, size: int) -> "Sums":
        """None yet, and never more than `MOST_IN_16_BITS`: a quarter of the memory to go through."""
        return cls(0, np.zeros((size, size, 3), np.uint16), np.zeros((3, 3), np.int64))

    def add(self, other: "Sums") -> None:
        self.images += other.images
        self.values += other.values
        self.products += other.products

    def add_image(self, image: np.ndarray) -> None:
        """`image` is uint8 [size, size, 3]."""
        if self.values.dtype != np.uint16:
            one = Sums.few(len(image))
            one.add_image(image)
            self.add(one)
            return
        assert self.images < MOST_IN_16_BITS
        self.images += 1
        pixels.add_moments(image, self.values, self.products)

    def mean(self) -> np.ndarray:
        """float32 [size, size, 3], on the 0-255 scale."""
        return (self.values / self.images).astype(np.float32)

    def covariance(self) -> np.ndarray:
        """float64 [3, 3]: the covariance of red, green and blue over all pixels; their number divides."""
        count = self.images * self.values.shape[0] * self.values.shape[1]
        first = [int(value) for value in self.values.sum(axis=(0, 1))]
        # In Python's whole numbers, rounded once: the squares of such sums do not fit in 64 bits.
        rows = [
            [(count * int(self.products[a, b]) - first[a] * first[b]) / count**2 for b in range(3)] for a in range(3)
        ]
        return np.array(rows, np.float64)
