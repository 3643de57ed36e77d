"""ILSVRC-2012 as published: the two archives of images and the development kit, in one folder.

Images are read straight from the archives by their offsets; nothing is unpacked. Classes are the development kit's
synsets without children, sorted by wnid; the kit's own numbers only serve to find them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from alexnet.data.classes import Class
from alexnet.data.sources.devkit import read_devkit
from alexnet.data.sources.held_out import ClassListing, split_classes
from alexnet.data.sources.source import Choices, LabelledImage, Source, SourceKind, Split, contents_of
from alexnet.data.sources.tar import TarAt, check_end, members
from alexnet.files.printable import printable

TRAIN, VAL, DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"


def detect(path: Path) -> set[str] | None:
    """The archives that a folder holds, by name. Some of the three beside unpacked images do not count."""
    found = {name for name in (TRAIN, VAL, DEVKIT) if (path / name).is_file()}
    return found if len(found) == 3 or (found and not (path / "train").is_dir()) else None


def open_ilsvrc(path: Path, found: set[str], choices: Choices) -> Source:
    """The archives in `path`. That of the validation images may be missing where `val_fraction` is given."""
    for name in (TRAIN, DEVKIT) if choices.val_fraction is not None else (TRAIN, VAL, DEVKIT):
        if name not in found:
            raise ValueError(f"{path} has no {name}: download it from image-net.org and put it there")
    synsets, truth = read_devkit(path / DEVKIT)
    classes = tuple(Class(each.wnid, each.words) for each in synsets)
    label_of = {wnid: label for label, (wnid, _) in enumerate(classes)}
    archives = sorted(_class_archives(path / TRAIN, label_of))
    splits = split_classes(
        lambda: _listings(path / TRAIN, archives, label_of),
        lambda: [each.train_images for each in synsets],
        0.0 if VAL in found else choices.val_fraction or 0.0,
        choices.seed,
    )
    if VAL in found:
        check_end(path / VAL)
        label_of_number = {each.number: label for label, each in enumerate(synsets)}
        labels = [label_of_number[number] for number in truth]
        splits["val"] = Split(lambda: _val_images(path / VAL, labels), lambda: len(labels))
    images = sum(each.train_images for each in synsets) + (len(truth) if VAL in found else 0)
    return Source(
        KIND.name, path, classes, splits, find_contents=lambda: contents_of([path / name for name in found], images)
    )


KIND = SourceKind("ilsvrc2012", "the three ILSVRC2012 archives", detect=detect, open=open_ilsvrc)


def _class_archives(path: Path, label_of: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """The wnid, offset and size of the tars in the archive of the training images."""
    seen: set[str] = set()
    for name, offset, size in members(path):
        wnid = printable(name).rpartition("/")[2].removesuffix(".tar")
        if wnid not in label_of:
            raise ValueError(f"{path} holds {printable(name)}, which is not a class of the development kit beside it")
        _check_new(path, f"{wnid}.tar", seen)
        yield wnid, offset, size


def _listings(path: Path, archives: list[tuple[str, int, int]], label_of: dict[str, int]) -> Iterator[ClassListing]:
    """The training images, class by class."""
    for wnid, start, size in archives:

        def image(name: str, offset: int, size: int, wnid: str = wnid) -> LabelledImage:
            return LabelledImage(f"train/{wnid}/{printable(name)}", label_of[wnid], TarAt(str(path), offset, size))

        yield ClassListing(wnid, _class_members(path, wnid, start, size), image)


def _class_members(path: Path, wnid: str, start: int, size: int) -> Iterator[tuple[str, int, int]]:
    seen: set[str] = set()  # a few thousand names at most
    for member in members(path, start, size):
        _check_new(path, f"{wnid}/{printable(member[0])}", seen)
        yield member


def _check_new(path: Path, name: str, seen: set[str]) -> None:
    """Add a name to those `seen`; ValueError where it is among them, since it is unknown which of the two counts."""
    if name in seen:
        raise ValueError(f"{path} holds {name} twice: download it again, or pack it with one of them")
    seen.add(name)


def _val_images(path: Path, labels: list[int]) -> Iterator[LabelledImage]:
    """The validation images. They are numbered from 1; `labels` has the label of each in turn."""
    seen = bytearray(len(labels) + 1)
    for name, *position in members(path):
        key = printable(name)
        match = re.search(r"(\d{8})\.\w+$", key)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(labels):
            raise ValueError(f"{path} holds {key}, for which the {len(labels)} validation labels have none")
        if seen[number]:
            raise ValueError(f"{path} holds image {number:08} twice: download it again")
        seen[number] = 1
        yield LabelledImage(f"val/{key}", labels[number - 1], TarAt(str(path), *position))
