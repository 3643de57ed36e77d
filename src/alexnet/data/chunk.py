"""What one worker process does with some pictures of a source: read, rescale, encode, and sum.

The sums are whole numbers, so that the mean picture and the colour covariance are exact and do not depend on
how the pictures were dealt out. They are taken over the pictures as stored, which are those the network will
see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet.data.pictures import Picture
from alexnet.data.resize import decode, decode_stored, encode, rescale
from alexnet.data.sources import read_bytes

MOST_IN_16_BITS = 257  # pictures: 257 * 255 < 2 ** 16


class Form(NamedTuple):
    """How pictures are stored."""

    size: int = 256
    quality: int = 95
    honour_exif: bool = False


class Row(NamedTuple):
    """A row of the store."""

    image: bytes
    label: int
    key: str


@dataclass
class Sums:
    """What mean and covariance are made of: over `pictures` pictures, the sum of every value, int64
    [size, size, 3], and of the products of every pixel's values with each other, int64 [3, 3]."""

    pictures: int
    values: np.ndarray
    products: np.ndarray

    @classmethod
    def none(cls, size: int) -> "Sums":
        return cls(0, np.zeros((size, size, 3), np.int64), np.zeros((3, 3), np.int64))

    def add(self, other: "Sums") -> None:
        self.pictures += other.pictures
        self.values += other.values
        self.products += other.products

    def add_picture(self, picture: np.ndarray) -> None:
        """`picture` is uint8 [size, size, 3]."""
        self.add_pictures([picture])

    def add_pictures(self, pictures: Sequence[np.ndarray]) -> None:
        """`pictures` are uint8 [size, size, 3] each."""
        for first in range(0, len(pictures), MOST_IN_16_BITS):
            total = np.zeros(self.values.shape, np.uint16)
            for picture in pictures[first : first + MOST_IN_16_BITS]:
                total += picture
                self._add_products(picture)
            self.values += total
        self.pictures += len(pictures)

    def _add_products(self, picture: np.ndarray) -> None:
        # Single precision holds the sum over 256 pixels exactly (256 * 255 * 255 < 2 ** 24) and is many times faster
        # here than integers. Not by BLAS, which would start threads in every worker.
        pixels = picture.reshape(-1, 3)
        planes = np.zeros((3, -(-len(pixels) // 256) * 256), np.float32)
        planes[:, : len(pixels)] = pixels.T
        runs = planes.reshape(3, -1, 256)
        for a in range(3):
            for b in range(a, 3):
                product = round(float(np.einsum("ki,ki->k", runs[a], runs[b]).sum(dtype=np.float64)))
                self.products[a, b] += product
                if a != b:
                    self.products[b, a] += product

    def mean(self) -> np.ndarray:
        """float32 [size, size, 3], on the 0-255 scale."""
        return (self.values / self.pictures).astype(np.float32)

    def covariance(self) -> np.ndarray:
        """float64 [3, 3]: the covariance of red, green and blue over all pixels; their number divides."""
        pixels = self.pictures * self.values.shape[0] * self.values.shape[1]
        first = [int(value) for value in self.values.sum(axis=(0, 1))]
        # In Python's whole numbers, rounded once: the squares of such sums do not fit in 64 bits.
        rows = [
            [(pixels * int(self.products[a, b]) - first[a] * first[b]) / pixels**2 for b in range(3)] for a in range(3)
        ]
        return np.array(rows, np.float64)


class Bad(NamedTuple):
    """A picture that is left out, and why."""

    key: str
    reason: str


class Prepared(NamedTuple):
    """What became of a chunk of pictures, in their order. `sums` is None where they were not asked for."""

    rows: list[Row]
    bad: list[Bad]
    sums: Sums | None


def prepare_chunk(pictures: Sequence[Picture], form: Form, summed: bool) -> Prepared:
    """Reads, rescales and encodes `pictures`, and sums them if `summed`."""
    rows, bad = [], []
    sums = Sums.none(form.size) if summed else None
    for key, label, location in pictures:
        try:
            picture = decode(read_bytes(location), form.size, form.honour_exif)
        except ValueError as error:
            bad.append(Bad(key, str(error)))
            continue
        image = encode(rescale(picture, form.size), form.quality)
        rows.append(Row(image, label, key))
    if sums is not None:
        sums.add_pictures([decode_stored(row.image) for row in rows])
    return Prepared(rows, bad, sums)
