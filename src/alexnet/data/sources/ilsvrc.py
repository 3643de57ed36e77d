"""ILSVRC-2012 as published: the two archives of images and the development kit, in one folder.

The images are read straight from the archives by their offsets; nothing is unpacked. The development kit
numbers the synsets in an order of its own (ILSVRC2012_ID), and the validation labels use these numbers; here
the classes are the synsets without children in the order of their wnids, and the kit's numbers only serve to
find them.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.classes import Class
from alexnet.data.sources.matfile import read_structs
from alexnet.data.sources.source import LabelledImage, Source, Split, TarAt, held_out_count, hold_out, printable

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"


@dataclass(frozen=True)
class Synset:
    """A class as the development kit describes it."""

    number: int  # ILSVRC2012_ID
    wnid: str
    words: str
    train_images: int


def is_ilsvrc(path: Path) -> bool:
    """Whether the folder holds the published archives; some of them beside unpacked images do not count."""
    there = [(path / name).is_file() for name in (TRAIN, VAL, DEVKIT)]
    return all(there) or (any(there) and not (path / "train").is_dir())


def open_ilsvrc(path: Path, val_fraction: float | None = None, seed: int = 0) -> Source:
    """The archives in `path`; that of the validation images may lack where `val_fraction` is given."""
    for name in (TRAIN, DEVKIT) if val_fraction is not None else (TRAIN, VAL, DEVKIT):
        if not (path / name).is_file():
            raise ValueError(f"{path} lacks {name}: download it from image-net.org and put it there")
    synsets, truth = read_devkit(path / DEVKIT)
    classes = tuple(Class(each.wnid, each.words) for each in synsets)
    label_of = {wnid: label for label, (wnid, _) in enumerate(classes)}
    train = path / TRAIN
    archives = sorted(_class_archives(train, label_of))
    counts = {each.wnid: each.train_images for each in synsets}
    if (path / VAL).is_file():
        _check_end(path / VAL)
        numbers = {each.number: label for label, each in enumerate(synsets)}
        labels = [numbers[number] for number in truth]
        splits = {
            "train": Split(lambda: _train_images(train, archives, label_of), lambda: sum(counts.values())),
            "val": Split(lambda: _val_images(path / VAL, labels), lambda: len(labels)),
        }
    elif val_fraction == 0:
        splits = {"train": Split(lambda: _train_images(train, archives, label_of), lambda: sum(counts.values()))}
    else:
        fraction = val_fraction or 0.0
        held = sum(held_out_count(count, fraction) for count in counts.values())
        splits = {
            "train": Split(
                lambda: _held_out_images(train, archives, label_of, fraction, seed, False),
                lambda: sum(counts.values()) - held,
            ),
            "val": Split(lambda: _held_out_images(train, archives, label_of, fraction, seed, True), lambda: held),
        }
    return Source("ilsvrc2012", path, classes, splits)


def read_devkit(path: Path) -> tuple[list[Synset], list[int]]:
    """The synsets without children by wnid, and the ILSVRC2012_ID of every validation image in turn."""
    wanted = {"meta.mat": b"", "ILSVRC2012_validation_ground_truth.txt": b""}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in wanted and member.isfile() and (file := archive.extractfile(member)):
                    wanted[name] = file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged or cut off ({error}): download it again") from error
    for name, content in wanted.items():
        if not content:
            raise ValueError(
                f"{path} does not contain {name}: it is not the development kit of tasks 1 and 2; download that"
            )
    meta, truth_text = wanted.values()
    try:
        synsets = _read_meta(meta)
        truth = [int(line) for line in truth_text.split()]
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"the development kit {path} cannot be understood ({error}): download it again") from error
    if unknown := set(truth) - {each.number for each in synsets}:
        raise ValueError(f"{path}: the validation ground truth names class {min(unknown)}, which meta.mat has not")
    return synsets, truth


def _read_meta(content: bytes) -> list[Synset]:
    """The leaves of `synsets` in meta.mat: a struct array with one record per synset of the hierarchy."""
    records = read_structs(content, "synsets")
    synsets = [
        Synset(int(r["ILSVRC2012_ID"]), str(r["WNID"]), str(r["words"]), int(r["num_train_images"]))
        for r in records
        if int(r["num_children"]) == 0
    ]
    if len(synsets) < 2:
        raise ValueError("it has fewer than two classes")
    return sorted(synsets, key=lambda each: each.wnid)


def members(path: Path, start: int = 0, size: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every file in a tar, or in the tar in a file of `size` bytes at `start`.

    Only headers are read, one after the other; offsets count from the start of the file. Hidden names are
    left out. Names are never paths to write to. Raises ValueError where the tar stops before its end, and for a
    link or a device, which no image is.
    """
    with open(path, "rb") as file:
        window = file if size is None else _Window(file, start, size)
        before = 0
        try:
            # tarfile itself takes a header that is cut off or damaged for the end of the archive.
            with tarfile.open(fileobj=window, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
                while (member := archive.next()) is not None:
                    if member.size < 0 or member.offset < before:  # it would lead back, and around without end
                        raise ValueError(f"{path} is damaged: download it again")
                    before = member.offset + 1
                    archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would grow without end
                    if not member.isreg() and not member.isdir():
                        raise ValueError(
                            f"{path} holds {printable(member.name)}, a link or device and no file: links in archives "
                            "are not followed; pack the images themselves"
                        )
                    if member.isreg() and not member.name.rpartition("/")[2].startswith("."):
                        yield member.name.removeprefix("./"), start + member.offset_data, member.size
                window.seek(archive.offset)
                whole = window.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
        except tarfile.TarError as error:
            raise ValueError(f"{path} is damaged or cut off ({error}): download it again") from error
        if not whole:
            raise ValueError(f"{path} is damaged or cut off: download it again")


class _Window(io.RawIOBase):
    """`size` bytes of an open file from `start` on, as a file of its own."""

    def __init__(self, file: io.BufferedReader, start: int, size: int) -> None:
        self.file, self.start, self.size, self.place = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        return self.place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self.place)
        self.file.seek(self.start + self.place)
        data = self.file.read(left if size is None or size < 0 else min(size, left))
        self.place += len(data)
        return data


def _class_archives(path: Path, label_of: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """The wnid, offset and size of the tars in the archive of the training images."""
    seen: set[str] = set()
    for name, offset, size in members(path):
        wnid = printable(name).rpartition("/")[2].removesuffix(".tar")
        if wnid not in label_of:
            raise ValueError(f"{path} holds {printable(name)}, which is no class of the development kit beside it")
        _check_new(path, f"{wnid}.tar", seen)
        yield wnid, offset, size


def _check_new(path: Path, name: str, seen: set[str]) -> None:
    """Remembers a name; ValueError where it is there already: which of the two counts, nobody can know."""
    if name in seen:
        raise ValueError(f"{path} holds {name} twice: download it again, or pack it with one of them")
    seen.add(name)


def _check_end(path: Path) -> None:
    """A tar ends with two blocks of zeros: a look at them is free, going through 50,000 headers is not."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise ValueError(f"{path} is damaged or cut off: download it again")


def _train_images(
    path: Path, archives: list[tuple[str, int, int]], label_of: dict[str, int]
) -> Iterator[LabelledImage]:
    for wnid, start, size in archives:
        for name, *place in _class_members(path, wnid, start, size):
            yield LabelledImage(f"train/{wnid}/{printable(name)}", label_of[wnid], TarAt(str(path), *place))


def _class_members(path: Path, wnid: str, start: int, size: int) -> Iterator[tuple[str, int, int]]:
    seen: set[str] = set()  # some thousand names at most
    for member in members(path, start, size):
        _check_new(path, f"{wnid}/{printable(member[0])}", seen)
        yield member


def _held_out_images(
    path: Path,
    archives: list[tuple[str, int, int]],
    label_of: dict[str, int],
    fraction: float,
    seed: int,
    held_out: bool,
) -> Iterator[LabelledImage]:
    for wnid, start, size in archives:
        inside = {name: place for name, *place in _class_members(path, wnid, start, size)}
        held = hold_out(inside, wnid, fraction, seed)
        for name, place in inside.items():
            if (name in held) == held_out:
                yield LabelledImage(f"train/{wnid}/{printable(name)}", label_of[wnid], TarAt(str(path), *place))


def _val_images(path: Path, labels: list[int]) -> Iterator[LabelledImage]:
    """The images are numbered from 1, and the ground truth has one line for each in turn."""
    seen = bytearray(len(labels) + 1)
    for name, *place in members(path):
        key = printable(name)
        number = re.search(r"(\d{8})\.\w+$", key)
        if number is None or not 1 <= int(number[1]) <= len(labels):
            raise ValueError(f"{path} holds {key}, for which the {len(labels)} lines of the ground truth have no label")
        if seen[int(number[1])]:
            raise ValueError(f"{path} holds image {number[1]} twice: download it again")
        seen[int(number[1])] = 1
        yield LabelledImage(f"val/{key}", labels[int(number[1]) - 1], TarAt(str(path), *place))
