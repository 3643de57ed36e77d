"""Rows of a small store, and reading one."""

import numpy as np

from alexnet.data.image.encode import encode
from alexnet.data.store.reader import StoreSplit
from alexnet.data.store.shard import Row
from campaigns.fuzz.formats.images import encoded_image

SIZE = 16  # of the images
ROWS_READ = 20


def store_rows() -> list[Row]:
    noise = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    images = [encoded_image("PNG", (SIZE, SIZE)), encoded_image("JPEG", (SIZE, SIZE)), *map(encode, noise)]
    return [Row(image, n % 3, f"image {n}") for n, image in enumerate(images)]


def read_split(split: StoreSplit) -> None:
    labels = split.labels
    for row in range(min(len(split), ROWS_READ)):
        assert split.image(row).shape[2] == 3 and 0 <= labels[row] < 1000 and isinstance(split.key(row), str)
