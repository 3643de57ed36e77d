"""Folders of images: `train/<class>/*` with `val/<class>/*`, or one folder of class folders.

The images of a class are all files below its folder that count (`walk.py`). The folders of the splits may have several
names, and the class folders may lie one folder deeper (`seg_train/seg_train/<class>`).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.held_out import ClassListing, all_images, split_classes
from alexnet.data.sources.names import some
from alexnet.data.sources.source import Choices, Contents, FileAt, LabelledImage, Source, SourceKind, Split
from alexnet.data.sources.walk import LeftOut, Survey, files_below, holds_images, look_alikes, subfolders, survey
from alexnet.files.printable import printable

TRAIN_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation", "test", "testing")
"""The first one that is there is the validation split; a test folder beside it is the third split."""
UNLABELLED_NAMES = ("test", "testing")
"""These often have no labels; the other names promise some."""
FILLERS = {"", "seg", "set", "data", "dataset", "images", "imgs", "split"}
"""What names of splits have besides: `seg_train`, `training_set`, `train-images`."""


def detect(path: Path) -> dict[str, Path] | None:
    """The folders in a folder, by name; None where there are none."""
    return (subfolders(path) or None) if path.is_dir() else None


def open_folder(path: Path, inside: dict[str, Path], choices: Choices) -> Source:
    """The folders `inside` a path: `train`, `val`, `test` (or names like them) with class folders, or class folders.

    Without a validation folder, the test folder is the validation split, unless `val_fraction` is given; or that
    fraction of every class (0.1 when None) is held out. With 0 there is no validation split.
    """
    train, validation, test, remarks = _folders_of_splits(path, inside, choices.val_fraction)
    folders = subfolders(train)
    _check_classes(path, train, folders)
    if train == path:
        folders, empty = _without_empty(path, folders)
        remarks += empty
    classes = tuple(Class(name, known_name(name)) for name in folders)
    tree = Tree(path)
    levels = [path, train]
    others: list[Path] = []
    splits: dict[str, Split] = {}
    if validation is None:
        splits = split_classes(
            lambda: tree.listings(classes, folders),
            lambda: [tree.count(folder) for folder in folders.values()],
            0.1 if choices.val_fraction is None else choices.val_fraction,
            choices.seed,
        )
    else:
        splits["train"] = tree.split(classes, folders)
    for name, folder in (("val", validation), ("test", test)):
        if folder is not None:
            levels.append(folder)
            inside = subfolders(folder)
            if not inside:
                raise ValueError(f"{folder} holds no class folders: it needs one for every folder in {train}")
            _check_same(train, folders, folder, inside)
            splits[name] = tree.split(classes, inside)
            others += inside.values()
    return Source(
        KIND.name,
        path,
        classes,
        splits,
        takes_every_file=True,
        remarks=remarks,
        find_contents=lambda: tree.contents([*folders.values(), *others], levels),
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


class _Folders(NamedTuple):
    """The folders of class folders of each split, and sentences about what lies beside them and is not used."""

    train: Path
    validation: Path | None
    test: Path | None
    remarks: tuple[str, ...]


def _folders_of_splits(path: Path, inside: Mapping[str, Path], val_fraction: float | None) -> _Folders:
    """Which of the folders `inside` a path are which splits. All of them are classes where none is called train."""
    found = splits_inside(path, inside)
    train = found.get(TRAIN_NAMES[0])
    if train is None or not subfolders(train):
        return _Folders(path, None, None, _labelled_beside(path))
    chosen: dict[str, Path] = {}
    for name in VALIDATION_NAMES:
        is_test = name in UNLABELLED_NAMES
        if name not in found or (is_test and not _has_classes(found[name], train)):
            continue
        # Images to test with stay apart where there are others to validate with.
        is_third = is_test and ("val" in chosen or val_fraction is not None)
        chosen.setdefault("test" if is_third else "val", found[name])
    remarks = tuple(
        f"{printable(str(folder))} is left out: "
        + ("it holds none of the classes" if subfolders(folder) else "it has no labels")
        for folder in inside.values()
        if folder not in (train, *chosen.values())
    )
    validation, test = (folder and class_root(folder) for folder in (chosen.get("val"), chosen.get("test")))
    return _Folders(class_root(train), validation, test, remarks)


def _without_empty(path: Path, folders: dict[str, Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The folders that hold an image, and a sentence about the others: where none is called train, not every one
    need be a class. ValueError for fewer than two."""
    kept = {name: folder for name, folder in folders.items() if next(files_below(folder), None) is not None}
    empty = [name for name in folders if name not in kept]
    if len(kept) < 2:
        few = f"only one folder in {path} holds images, {next(iter(kept))}" if kept else f"{path} holds no images"
        raise ValueError(f"{few}: put the images of each class into a folder of its own")
    return kept, (f"Left out, because no image is in it: {some(empty)}",) if empty else ()


def _has_classes(folder: Path, train: Path) -> bool:
    """Whether a folder holds a class of the training images. A test split often has no labels."""
    return bool(subfolders(class_root(folder)).keys() & subfolders(class_root(train)).keys())


def _labelled_beside(path: Path) -> tuple[str, ...]:
    """A sentence about a table of labels beside class folders, which give the labels."""
    tables = [name for name in ("labels.csv", "labels.tsv", "labels.jsonl") if (path / name).is_file()]
    return tuple(f"{path / name} is left out: the class folders give the labels (or --labels)" for name in tables)


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
