"""What one worker does with some images of a source: read, rescale, sum, and encode.

The sums are whole numbers, so that the mean image and the colour covariance are exact and do not depend on
how the images were dealt out. They are taken over the rescaled images before they are encoded: decoding each
again costs a quarter of what all the rest does, and changes next to nothing (`docs/data.md` says what was measured).
"""

from collections.abc import Sequence
from typing import NamedTuple

from alexnet.data.image.decode import decode
from alexnet.data.image.encode import encode
from alexnet.data.image.resize import rescale
from alexnet.data.sources import read_bytes
from alexnet.data.sources.source import LabelledImage
from alexnet.data.store.shard import Row
from alexnet.data.store.statistics import Sums


class Form(NamedTuple):
    """How images are stored."""

    size: int = 256
    quality: int = 95
    honour_exif: bool = False


class Bad(NamedTuple):
    """An image that is left out, and why."""

    key: str
    reason: str


class Prepared(NamedTuple):
    """What became of a chunk of images, in their order. `sums` is None where they were not asked for."""

    rows: list[Row]
    bad: list[Bad]
    sums: Sums | None


def prepare_chunk(images: Sequence[LabelledImage], form: Form, summed: bool) -> Prepared:
    """Reads, rescales and encodes `images`, at most `MAX_IMAGES_16BIT`, and sums them if `summed`."""
    rows, bad = [], []
    sums = Sums.zeros_16bit(form.size) if summed else None
    for key, label, location in images:
        try:
            image = decode(read_bytes(location), form.size, form.honour_exif)
        except ValueError as error:
            bad.append(Bad(key, str(error)))
            continue
        square = rescale(image, form.size)
        if sums is not None:
            sums.add_image(square)
        rows.append(Row(encode(square, form.quality), label, key))
    return Prepared(rows, bad, sums)
