"""What a source of labelled images is: its kind, its splits, and where the bytes of each image are.

A source lists keys, labels and locations. The bytes are read later, by whoever needs them, in any process.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from alexnet.data.classes import Class
from alexnet.files.regular import open_regular

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
        with open_regular(self.path) as file:
            # Python allocates all that is asked for, and allocating 256 MiB takes longer than reading an image.
            return file.read(min(os.fstat(file.fileno()).st_size + 1, limit))

    def length(self) -> int:
        """Bytes; -1 where it is not there."""
        try:
            return os.stat(self.path).st_size
        except OSError:
            return -1


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


class Contents(NamedTuple):
    """What a source holds as a whole: to notice later that it has changed, and to say what was left out."""

    images: int
    sha256: str
    """Of what distinguishes this content from another: names and lengths of images, or of archives."""
    left_out: dict[str, int]
    """How many files are no images: `hidden`, `system`, `notes`, and `stray` ones that belong to no class."""
    named: str = ""
    """Names of the notes and the stray ones, in words."""


@dataclass(frozen=True)
class Source:
    """Labelled images: a split "train" and, if there are such, "val" and "test"."""

    kind: str
    """Name of its SourceKind."""
    path: Path
    classes: tuple[Class, ...]
    """Sorted by wnid or name; in the order of its own list of names where the source has one, and numbers by value."""
    splits: dict[str, Split]
    takes_every_file: bool = False
    """Whether every file below `path` counts as an image, so that no store may be written there."""
    remarks: tuple[str, ...] = ()
    """Sentences about what is there and is not used, such as a test split without labels."""
    find_contents: Callable[[], Contents] | None = None
    """Looks at all that is there; None where listing the splits does."""

    @cached_property
    def contents(self) -> Contents:
        """What the source holds. The first call looks at every name."""
        if self.find_contents is not None:
            return self.find_contents()
        images, digest = 0, hashlib.sha256()
        for name, split in self.splits.items():
            for key, label, _ in split:
                images += 1
                digest.update(f"{name}\0{key}\0{self.classes[label].wnid}\n".encode())
        return Contents(images, digest.hexdigest(), {})


def contents_of(files: Iterable[Path], images: int) -> Contents:
    """The contents of archives or tables that hold `images`: their names and lengths stand for them."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\0{file.stat().st_size}\n".encode("utf-8", "backslashreplace"))
    return Contents(images, digest.hexdigest(), {})


class Choices(NamedTuple):
    """What the user chose about a source."""

    val_fraction: float | None = None
    """Where there is no validation split: the fraction of every class that becomes one; None for the kind's default."""
    seed: int = 0
    """Seed of the choice of these images."""
    image_column: str | None = None
    """Of a table: the column of the images; None to find it."""
    label_column: str | None = None
    """Of a table: the column of the labels; None to find it."""
    labels: str | None = None
    """The file of a table of labels for a folder of images; None to find what is there."""


@dataclass(frozen=True)
class SourceKind(Generic[Found]):
    """A kind of source: how it is detected and opened, and how messages describe it."""

    name: str
    looks: str
    """What it looks like, for messages and the help text."""
    detect: Callable[[Path], Found | None]
    """What of this kind is at a path; None for nothing. Quick: it looks at names, not at images."""
    open: Callable[[Path, Found, Choices], Source]
    """Opens what `detect` found at a path.

    Raises ValueError, naming the file and what to do about it.
    """
    has_columns: bool = False
    """Whether the columns of `Choices` mean something."""
