"""Folders of images: `train/<class>/*` with `val/<class>/*`, or one folder of class folders.

The images of a class are all files below its folder that count (`walk.py`). The folders of the splits may have several
names, and the class folders may lie one folder deeper (`seg_train/seg_train/<class>`).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.held_out import ClassListing, all_images, split_classes
from alexnet.data.sources.names import some
from alexnet.data.sources.source import Choices, Contents, FileAt, LabelledImage, Source, SourceKind, Split
from alexnet.data.sources.walk import LeftOut, Survey, files_below, holds_images, look_alikes, subfolders, survey
from alexnet.files.printable import printable

TRAIN_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation", "test", "testing")
"""The first one that is there is the validation split."""
UNLABELLED_NAMES = ("test", "testing")
"""These often have no labels; the other names promise some."""
FILLERS = {"", "seg", "set", "data", "dataset", "images", "imgs", "split"}
"""What names of splits have besides: `seg_train`, `training_set`, `train-images`."""


def detect(path: Path) -> dict[str, Path] | None:
    """The folders in a folder, by name; None where there are none."""
    return (subfolders(path) or None) if path.is_dir() else None


def open_folder(path: Path, inside: dict[str, Path], choices: Choices) -> Source:
    """The folders `inside` a path: `train` and `val` (or names like them) with class folders in them, or class folders.

    Without a validation folder, `val_fraction` of every class (0.1 when None) is held out; with 0 there is no
    validation split.
    """
    train, validation, remarks = _train_and_validation(path, inside)
    folders = subfolders(train)
    classes = tuple(Class(name, known_name(name)) for name in folders)
    _check_classes(path, train, folders)
    tree = Tree(path)
    levels = [path, train]
    others: dict[str, Path] = {}
    if validation is None:
        splits = split_classes(
            lambda: tree.listings(classes, folders),
            lambda: [tree.count(folder) for folder in folders.values()],
            0.1 if choices.val_fraction is None else choices.val_fraction,
            choices.seed,
        )
    else:
        levels.append(validation)
        others = subfolders(validation)
        if not others:
            raise ValueError(f"{validation} holds no class folders: it needs one for every folder in {train}")
        _check_same(train, folders, validation, others)
        splits = {"train": tree.split(classes, folders), "val": tree.split(classes, others)}
    return Source(
        KIND.name,
        path,
        classes,
        splits,
        takes_every_file=True,
        remarks=remarks,
        find_contents=lambda: tree.contents([*folders.values(), *others.values()], levels),
    )


KIND = SourceKind(
    "folder", "class folders (<class>/*, or train/<class>/* and val/<class>/*)", detect=detect, open=open_folder
)


class Tree:
    """Class folders below `root`. Each is walked once to count its images, and again whenever they are listed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._survey = cache(survey)

    def split(self, classes: tuple[Class, ...], folders: Mapping[str, Path]) -> Split:
        """All images of the class folders `folders` (wnid to folder). Their keys are paths below the root."""
        return Split(
            lambda: all_images(self.listings(classes, folders)), lambda: sum(map(self.count, folders.values()))
        )

    def listings(self, classes: tuple[Class, ...], folders: Mapping[str, Path]) -> Iterator[ClassListing]:
        """The images class by class."""
        for label, (wnid, _) in enumerate(classes):
            if (folder := folders.get(wnid)) is not None:

                def image(name: str, folder: Path = folder, label: int = label) -> LabelledImage:
                    key = f"{folder.relative_to(self.root).as_posix()}/{name}"
                    return LabelledImage(printable(key), label, FileAt(f"{folder}/{name}"))

                yield ClassListing(wnid, ((name,) for name in files_below(folder)), image)

    def count(self, folder: Path) -> int:
        """The images of a class folder."""
        return self._survey(folder).images

    def contents(self, folders: Iterable[Path], levels: Iterable[Path], others: Iterable[Survey] = ()) -> Contents:
        """What the class folders hold, what was left out there and in the folders `levels` that hold them."""
        left_out, digest, images = LeftOut(), hashlib.sha256(), 0
        for level in dict.fromkeys(levels):
            subfolders(level, left_out)
        for folder in folders:
            found = self._survey(folder)
            digest.update(f"{printable(folder.relative_to(self.root).as_posix())}\0".encode() + found.digest)
            images += found.images
            left_out.include(found.left_out)
        for found in others:
            digest.update(found.digest)
            images += found.images
            left_out.include(found.left_out)
        return Contents(images, digest.hexdigest(), dict(left_out), left_out.in_words())


def role(name: str) -> str | None:
    """The split that a folder's name stands for, one of `TRAIN_NAMES` or `VALIDATION_NAMES`; else None."""
    words = [word for word in re.split(r"[\W_]+", name.casefold()) if word not in FILLERS]
    return words[0] if len(words) == 1 and words[0] in TRAIN_NAMES + VALIDATION_NAMES else None


def splits_inside(path: Path, inside: Mapping[str, Path]) -> dict[str, Path]:
    """The folders of splits among the folders `inside` a path, by their role.

    ValueError where two have the same role, and a training split is among all.
    """
    found: dict[str, Path] = {}
    twice: dict[str, list[str]] = {}
    for name, folder in inside.items():
        if (split := role(name)) is not None:
            split = TRAIN_NAMES[0] if split in TRAIN_NAMES else split
            found.setdefault(split, folder)
            twice.setdefault(split, []).append(name)
    for names in twice.values():
        if len(names) > 1 and TRAIN_NAMES[0] in found:
            same = len({name.casefold() for name in names}) == 1
            how = "differ only in capital letters" if same else "stand for the same split"
            raise ValueError(f"{path} holds folders that {how}, {some(names)}: rename or merge them")
    return found


def class_root(folder: Path) -> Path:
    """The folder that holds the class folders: `folder`, or one in it where it holds nothing else."""
    inside = subfolders(folder)
    if len(inside) == 1 and not holds_images(folder):
        (only,) = inside.values()
        deeper = class_root(only)
        if len(subfolders(deeper)) > 1:
            return deeper
    return folder


def _train_and_validation(path: Path, inside: Mapping[str, Path]) -> tuple[Path, Path | None, tuple[str, ...]]:
    """The folders of class folders: that of the training images and, if there is one, that of the validation images.

    Also a sentence about what lies beside them and is not used.
    """
    found = splits_inside(path, inside)
    train = found.get(TRAIN_NAMES[0])
    if train is None or not subfolders(train):
        return path, None, ()
    validation = None
    for name in VALIDATION_NAMES:
        if validation is None and name in found and (name not in UNLABELLED_NAMES or subfolders(found[name])):
            validation = found[name]
    unused = {name: folder for name, folder in inside.items() if folder not in (train, validation)}
    remarks = tuple(
        f"{printable(str(folder))} is left out: "
        + (f"{validation} is the validation split" if validation and subfolders(folder) else "it has no labels")
        for folder in unused.values()
    )
    return class_root(train), validation and class_root(validation), remarks


def _check_classes(path: Path, train: Path, folders: Mapping[str, Path]) -> None:
    """ValueError for fewer than two classes, and for a data set in place of a class."""
    if len(folders) > 1:
        for folder in folders.values():
            if {"train", "val"} <= subfolders(folder).keys():
                raise ValueError(f"{folder} is a data set of its own, not a class folder: give that, not {path}")
        return
    inside = [folder for folder in folders.values() if subfolders(folder)]
    hint = f"; did you mean {inside[0]}?" if inside else ""
    raise ValueError(f"{train} holds only one class folder, {next(iter(folders))}; at least two are needed{hint}")


def _check_same(train: Path, folders: dict[str, Path], validation: Path, others: dict[str, Path]) -> None:
    """ValueError unless the training and the validation folder have the same classes."""
    if alike := look_alikes(folders, others):
        raise ValueError(f"{train} and {validation} hold folders that look alike but are written {alike}: rename one")
    if unknown := others.keys() - folders.keys():
        raise ValueError(f"{validation} has classes that {train} does not have: {some(unknown)}")
    if missing := folders.keys() - others.keys():
        raise ValueError(
            f"{validation} has no folder for these classes of {train}: {some(missing)}; "
            "create empty ones if they have no validation images"
        )
