"""What one worker does with some pictures of a source: read, rescale, sum, and encode.

The sums are whole numbers, so that the mean picture and the colour covariance are exact and do not depend on
how the pictures were dealt out. They are taken over the rescaled pictures before they are encoded: decoding each
again costs a quarter of what all the rest does, and changes next to nothing (`docs/data.md` says what was measured).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from alexnet.data import pixels
from alexnet.data.pictures import Picture
from alexnet.data.resize import decode, encode, rescale
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
    [size, size, 3] (uint16 for a `few`), and of the products of every pixel's values with each other, int64 [3, 3].
    """

    pictures: int
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
        self.pictures += other.pictures
        self.values += other.values
        self.products += other.products

    def add_picture(self, picture: np.ndarray) -> None:
        """`picture` is uint8 [size, size, 3]."""
        if self.values.dtype != np.uint16:
            one = Sums.few(len(picture))
            one.add_picture(picture)
            self.add(one)
            return
        assert self.pictures < MOST_IN_16_BITS
        self.pictures += 1
        pixels.add(picture, self.values, self.products)

    def mean(self) -> np.ndarray:
        """float32 [size, size, 3], on the 0-255 scale."""
        return (self.values / self.pictures).astype(np.float32)

    def covariance(self) -> np.ndarray:
        """float64 [3, 3]: the covariance of red, green and blue over all pixels; their number divides."""
        count = self.pictures * self.values.shape[0] * self.values.shape[1]
        first = [int(value) for value in self.values.sum(axis=(0, 1))]
        # In Python's whole numbers, rounded once: the squares of such sums do not fit in 64 bits.
        rows = [
            [(count * int(self.products[a, b]) - first[a] * first[b]) / count**2 for b in range(3)] for a in range(3)
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
    """Reads, rescales and encodes `pictures`, at most `MOST_IN_16_BITS`, and sums them if `summed`."""
    rows, bad = [], []
    sums = Sums.few(form.size) if summed else None
    for key, label, location in pictures:
        try:
            picture = decode(read_bytes(location), form.size, form.honour_exif)
        except ValueError as error:
            bad.append(Bad(key, str(error)))
            continue
        square = rescale(picture, form.size)
        if sums is not None:
            sums.add_picture(square)
        rows.append(Row(encode(square, form.quality), label, key))
    return Prepared(rows, bad, sums)
