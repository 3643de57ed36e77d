"""Rows of a small store, and reading one."""

from alexnet.data.store.reader import StoreSplit
from alexnet.data.store.shard import Row
from campaigns.fuzz.formats.images import encoded_image

SIZE = 16  # of the images
ROWS_READ = 20


def store_rows() -> list[Row]:
    return [Row(encoded_image("PNG", (SIZE, SIZE)), n % 3, f"image {n}") for n in range(5)]


def read_split(split: StoreSplit) -> None:
    labels = split.labels
    for row in range(min(len(split), ROWS_READ)):
        assert split.image(row).shape[2] == 3 and 0 <= labels[row] < 1000 and isinstance(split.key(row), str)
