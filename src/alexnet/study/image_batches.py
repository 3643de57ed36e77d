"""The images of a store, of a source, of a folder or of a list, rescaled and in batches, with names and classes."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from alexnet.data.loader import in_background, in_order
from alexnet.data.sources import LabelledImage, open_source, read_bytes
from alexnet.data.sources.walk import files_below, holds_images, is_image
from alexnet.data.store.reader import Store
from alexnet.files.printable import printable
from alexnet.files.text import read_text
from alexnet.ranges import UsageError
from alexnet.study.image_files import find_images
from alexnet.study.matching import check_size, open_split
from alexnet.study.resizing import Resize, resized
from alexnet.study.trained import TrainedAlexNet

LISTS = (".txt", ".lst")
"""Endings of a list of images."""
LONGEST_LIST = 1 << 28
"""Bytes of a list: the paths of all 1.3 million images of ImageNet take 100 million."""

Rows = Callable[[int], slice]
"""From the number of images to the range of them that this rank takes."""


class ImageBatch(NamedTuple):
    """B images with their names."""

    images: Tensor
    """uint8 [B, S, S, 3], on the CPU."""
    keys: list[str]
    wnids: list[str]
    """Empty where the source has no classes."""
    errors: dict[int, str]
    """Why an image cannot be read, by its index in the batch; its pixels are 0."""


class Unread(NamedTuple):
    """An image that has yet to be read."""

    key: str
    wnid: str | None
    image: Any
    """What the function that reads it takes."""


def open_images(
    net: TrainedAlexNet,
    run: Path,
    source: Path,
    split: str | None,
    batch_size: int,
    rows: Rows,
    resize: Resize = "crop",
) -> tuple[int, Iterator[ImageBatch]]:
    """The number of images of `source`, and this rank's part of them in batches.

    `source` is a store, any source of labelled images, a folder of images, a list of them (see `read_list`), or an
    image; without `split` its splits follow each other. `resize` says what the centre view of an image shows. Raises
    ValueError for anything else, for a split that is not there, for a store that does not fit the run or is to be
    resized, and, while iterating, for a damaged row of a store.
    """
    if (source / "store.json").exists():
        if resize != "crop":
            raise ValueError(
                f"{source} is a store, whose images are cut to squares already: give the images themselves with "
                f"--resize {resize}."
            )
        return _from_store(net, run, Store(source), split, batch_size, rows)
    if not source.is_dir() or (split is None and holds_images(source)):
        return _from_files(net, source, batch_size, rows, resize)
    try:
        labelled = open_source(source, val_fraction=0.0 if split is None else None)
    except ValueError:
        if split is not None or next(files_below(source), None) is None:
            raise
        return _from_files(net, source, batch_size, rows, resize)
    if split and split not in labelled.splits:
        raise UsageError(f"{source} has no split '{split}'; it has: {', '.join(labelled.splits)}.")
    chosen = [labelled.splits[split]] if split else list(labelled.splits.values())
    count = sum(part.count if part.count is not None else sum(1 for _ in part) for part in chosen)

    def read(image: LabelledImage) -> np.ndarray:
        return resized(net.preprocess, read_bytes(image.location), resize)

    unread = (Unread(image.key, labelled.classes[image.label].wnid, image) for part in chosen for image in part)
    mine = rows(count)
    return count, read_ahead(itertools.islice(unread, mine.start, mine.stop), read, net.preprocess.size, batch_size)


def _from_files(
    net: TrainedAlexNet, source: Path, batch_size: int, rows: Rows, resize: Resize
) -> tuple[int, Iterator[ImageBatch]]:
    """An image file, all those in a folder, or those of a list; keys are paths below the folder, or as in the list."""

    def read(path: Path) -> np.ndarray:
        return resized(net.preprocess, path, resize)

    if source.suffix.lower() in LISTS and source.is_file() and not is_image(source):
        names = read_list(source)
        paths = [source.parent / name for name in names]
    else:
        paths = find_images([source])
        root = source if source.is_dir() else source.parent
        names = [str(path.relative_to(root)) for path in paths]
    mine = rows(len(paths))
    unread = (Unread(printable(name), None, path) for name, path in zip(names[mine], paths[mine], strict=True))
    return len(paths), read_ahead(unread, read, net.preprocess.size, batch_size)


def read_list(path: Path) -> list[str]:
    """The paths in a text file, one a line, relative to its folder or absolute; empty lines and those that begin with #
    do not count. Raises ValueError, naming the file, where it is no text or names no image."""
    try:
        lines = map(str.strip, read_text(path, LONGEST_LIST).split("\n"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from None
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise ValueError(f"{path} names no images; write the path of an image on each line.")
    return names


def _from_store(
    net: TrainedAlexNet, run: Path, store: Store, split: str | None, batch_size: int, rows: Rows
) -> tuple[int, Iterator[ImageBatch]]:
    check_size(net, store, run)
    splits = [split] if split else [name for name, images in store.splits.items() if images]
    count = sum(len(open_split(store, name)) for name in splits)
    return count, _stored(store, splits, batch_size, rows(count))


def _stored(store: Store, splits: Sequence[str], batch_size: int, rows: slice) -> Iterator[ImageBatch]:
    """The images `rows` of all those of `splits`, one split after the other."""
    before = 0
    for name in splits:
        images_of_split = store.split(name)
        mine = slice(max(0, rows.start - before), max(0, rows.stop - before))
        before += len(images_of_split)
        for images, labels, first in in_order(images_of_split, batch_size, rows=mine):
            keys = [images_of_split.key(i) for i in range(first, first + len(images))]
            yield ImageBatch(images, keys, [store.classes[label].wnid for label in labels.tolist()], {})


def read_ahead(
    unread: Iterator[Unread], read: Callable[[Any], np.ndarray], size: int, batch_size: int
) -> Iterator[ImageBatch]:
    """Read images in the background; `read` takes an `Unread.image` and returns uint8 [size, size, 3]."""
    ahead: dict[int, Unread] = {}
    errors: dict[int, str] = {}

    def ranges() -> Iterator[range]:
        for first in itertools.count(0, batch_size):
            ahead.update(enumerate(itertools.islice(unread, batch_size), first))
            if first not in ahead:
                return
            yield range(first, max(ahead) + 1)

    def fill(images: np.ndarray, positions: range) -> None:
        for row, position in enumerate(positions):
            try:
                images[row] = read(ahead[position].image)
            except (ValueError, OSError) as error:
                images[row] = 0
                errors[position] = str(error)

    for images, positions in in_background(ranges(), size, fill, workers=0):
        done = [ahead.pop(position) for position in positions]
        bad = {row: errors.pop(position) for row, position in enumerate(positions) if position in errors}
        yield ImageBatch(images, [each.key for each in done], [each.wnid for each in done if each.wnid], bad)
