"""A validation split held out of the training images, where a source has none of its own."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from alexnet.data.sources.source import LabelledImage, Split
from alexnet.files.printable import printable


class ClassListing(NamedTuple):
    """The images of one class. Each entry is a tuple that starts with a file name; `image` takes its items."""

    wnid: str
    entries: Iterable[tuple[Any, ...]]
    image: Callable[..., LabelledImage]


def hold_out(names: Iterable[str], wnid: str, fraction: float, seed: int) -> set[str]:
    """The names of one class that go to validation: `fraction` of them, at least one, never all.

    The names are ranked by a hash of seed, class and name, so that neither other classes nor the order of the names
    matter, and an image added later moves few others. The only image of a class stays in training.
    """
    ranked = sorted(names, key=lambda name: hashlib.blake2b(f"{seed}\0{wnid}\0{printable(name)}".encode()).digest())
    return set(ranked[: held_out_count(len(ranked), fraction)])


def held_out_count(images: int, fraction: float) -> int:
    """How many of a class's `images` are held out."""
    return min(images - 1, max(1, round(images * fraction))) if images > 1 else 0


def split_classes(
    list_classes: Callable[[], Iterator[ClassListing]],
    count_classes: Callable[[], Iterable[int]],
    fraction: float,
    seed: int,
) -> dict[str, Split]:
    """The splits "train" and "val" of the same classes, with `fraction` of each class in "val"; for 0, only "train".

    `count_classes` gives the number of images of each class.
    """
    if fraction == 0:
        return {"train": Split(lambda: all_images(list_classes()), lambda: sum(count_classes()))}

    def images(held_out: bool) -> Iterator[LabelledImage]:
        for wnid, entries, image in list_classes():
            listed = list(entries)
            held = hold_out((name for name, *_ in listed), wnid, fraction, seed)
            yield from (image(*entry) for entry in listed if (entry[0] in held) == held_out)

    def count(held_out: bool) -> int:
        counts = [(images, held_out_count(images, fraction)) for images in count_classes()]
        return sum(held if held_out else images - held for images, held in counts)

    return {
        "train": Split(lambda: images(False), lambda: count(False)),
        "val": Split(lambda: images(True), lambda: count(True)),
    }


def all_images(classes: Iterable[ClassListing]) -> Iterator[LabelledImage]:
    """The images of all classes, one class after the other."""
    for _, entries, image in classes:
        yield from (image(*entry) for entry in entries)
