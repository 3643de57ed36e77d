"""What one worker does with a chunk of images: read, rescale, sum, encode.

Sums for the mean image and the colour covariance are taken over the rescaled images, before they are encoded. Decoding
each image again would cost a quarter of all other work and change next to nothing (docs/data.md has the measurements).
"""

from collections.abc import Sequence
from typing import NamedTuple

from alexnet.data.image.encode import encode
from alexnet.data.image.square import square
from alexnet.data.sources import read_bytes
from alexnet.data.sources.source import LabelledImage
from alexnet.data.store.shard import Row
from alexnet.data.store.statistics import Sums

IMAGES_PER_CHUNK = 32
CHUNKS_PER_SHARD = 64
"""2048 images: what an interruption costs at most, except for those that are being written to the disk."""


class ImageOptions(NamedTuple):
    """How images are stored."""

    size: int = 256
    quality: int = 95
    honour_exif: bool = False


class Skipped(NamedTuple):
    """An image that is left out, and why."""

    key: str
    reason: str


class Chunk(NamedTuple):
    """Images of one split, for one worker."""

    split: str
    images: Sequence[LabelledImage]


class Prepared(NamedTuple):
    """The result of a chunk, in the order of its images; `sums` only for training images."""

    rows: list[Row]
    skipped: list[Skipped]
    sums: Sums | None


def prepare_chunk(chunk: Chunk, options: ImageOptions) -> Prepared:
    """Read, rescale and encode the images of a chunk, at most `MAX_IMAGES_16BIT`."""
    rows, skipped = [], []
    sums = Sums.zeros_16bit(options.size) if chunk.split == "train" else None
    for key, label, location in chunk.images:
        try:
            image = square(read_bytes(location), options.size, options.honour_exif)
        except ValueError as error:
            skipped.append(Skipped(key, str(error)))
            continue
        if sums is not None:
            sums.add_image(image)
        rows.append(Row(encode(image, options.quality), label, key))
    return Prepared(rows, skipped, sums)
