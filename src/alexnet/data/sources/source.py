"""What a source of labelled images is: its kind, its splits, and where the bytes of each image are.

A source lists keys, labels and locations. The bytes are read later, by whoever needs them, in any process.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from alexnet.data.classes import Class

Found = TypeVar("Found")


class Location(Protocol):
    """Where an encoded image is. Small and picklable, so that other processes can read it."""

    def read(self, limit: int) -> bytes:
        """The encoded image; of one longer than `limit` bytes, the first `limit` are enough.

        Raises OSError as the system does, ValueError with the reason where the image is not there.
        """
        ...


class FileAt(NamedTuple):
    """An image that is a file of its own."""

    path: str

    def read(self, limit: int) -> bytes:
        with open(self.path, "rb") as file:
            # Python allocates all that is asked for, and allocating 256 MiB takes longer than reading an image.
            return file.read(min(os.fstat(file.fileno()).st_size + 1, limit))


class LabelledImage(NamedTuple):
    """One image of a source.

    `key` is its name in the source, one line of UTF-8; `label` is an index into the source's classes.
    """

    key: str
    label: int
    location: Location


@dataclass(frozen=True)
class Split:
    """The images of a split. Each iteration lists them again, in the same order; they are never all in memory."""

    list_images: Callable[[], Iterator[LabelledImage]]
    count_images: Callable[[], int | None]

    def __iter__(self) -> Iterator[LabelledImage]:
        return self.list_images()

    @cached_property
    def count(self) -> int | None:
        """The number of images, for a progress bar; None where counting them would be slow."""
        return self.count_images()


@dataclass(frozen=True)
class Source:
    """Labelled images: classes sorted by wnid, a split "train" and, if there is one, a split "val"."""

    kind: str
    """Name of its SourceKind."""
    path: Path
    classes: tuple[Class, ...]
    splits: dict[str, Split]
    takes_every_file: bool = False
    """Whether every file below `path` counts as an image, so that no store may be written there."""


@dataclass(frozen=True)
class SourceKind(Generic[Found]):
    """A kind of source: how it is detected and opened, and how messages describe it."""

    name: str
    looks: str
    """What it looks like, for messages and the help text."""
    detect: Callable[[Path], Found | None]
    """What of this kind is at a path; None for nothing. Quick: it looks at names, not at images."""
    open: Callable[[Path, Found, float | None, int], Source]
    """Opens what `detect` found at a path. The last two arguments are `val_fraction` and `seed` of `open_source`.

    Raises ValueError, naming the file and what to do about it.
    """
