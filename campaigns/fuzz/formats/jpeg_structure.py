"""JPEG of random structure, whole and damaged."""

import random

from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.images import read_image
from campaigns.fuzz.jpeg_writer import make_jpeg


def examples() -> list[bytes]:
    return [make_jpeg(random.Random(seed)) for seed in range(20)]


FORMAT = Format("jpeg structure", 25, examples, read_image, make=make_jpeg)
