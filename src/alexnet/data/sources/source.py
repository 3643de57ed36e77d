"""What every source of images yields: a key, a label and the place of the bytes, not the bytes."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from unicodedata import category

from alexnet.data.classes import Class


class FileAt(NamedTuple):
    """A file of its own."""

    path: str


class TarAt(NamedTuple):
    """`size` bytes from byte `offset` on of a file that is not compressed (a tar, or a tar in a tar)."""

    path: str
    offset: int
    size: int


class ParquetAt(NamedTuple):
    """The bytes in row `row` (from 0, over the whole file) of column `column` of a Parquet file."""

    path: str
    column: str
    row: int


class LabelledImage(NamedTuple):
    """One image: small and picklable, so that a million of them can be handed to other processes.

    `key` names it within the source and can always be written as one line of UTF-8; `label` is an index into
    the classes.
    """

    key: str
    label: int
    location: FileAt | TarAt | ParquetAt


@dataclass(frozen=True)
class Split:
    """The images of a split, listed anew in the same order whenever it is iterated, never all in memory."""

    list_images: Callable[[], Iterator[LabelledImage]]
    count_images: Callable[[], int | None]

    def __iter__(self) -> Iterator[LabelledImage]:
        return self.list_images()

    @cached_property
    def count(self) -> int | None:
        """How many images to expect, for a progress bar; None where finding out is not cheap."""
        return self.count_images()


@dataclass(frozen=True)
class Source:
    """Labelled images: classes in the order of their wnids, splits "train" and, if there is one, "val"."""

    kind: str  # "folder", "ilsvrc2012", "kaggle" or "parquet"
    path: Path
    classes: tuple[Class, ...]
    splits: dict[str, Split]


def printable(name: str) -> str:
    r"""A file name as a line of UTF-8: other bytes and control characters are escaped, as \xff and \n."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if category(c) in _CONTROL else c for c in text)


_CONTROL = ("Cc", "Zl", "Zp")


def hold_out(names: Iterable[str], wnid: str, fraction: float, seed: int) -> set[str]:
    """The names of one class that go to validation: `fraction` of them, at least one, and never all.

    The names are ranked by a hash of seed, class and name: neither other classes nor the order of the names
    matter, and an image added later moves few of the others. A class of one image keeps it for training.
    """
    ranked = sorted(names, key=lambda name: hashlib.blake2b(f"{seed}\0{wnid}\0{printable(name)}".encode()).digest())
    return set(ranked[: held_out_count(len(ranked), fraction)])


def held_out_count(images: int, fraction: float) -> int:
    """How many of a class's images `hold_out` takes."""
    return min(images - 1, max(1, round(images * fraction))) if images > 1 else 0


def some(names: Iterable[str]) -> str:
    """The first few of many names, for a sentence."""
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
