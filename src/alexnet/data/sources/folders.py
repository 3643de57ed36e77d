"""Folders of images: `train/<class>/*` with `val/<class>/*`, or one folder of class folders.

The images of a class are all files below its folder, whatever they are called, except hidden ones (a name that starts
with a dot). Links are followed, except one that leads back to a folder that contains it.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.held_out import ClassListing, all_images, split_classes
from alexnet.data.sources.names import some
from alexnet.data.sources.source import FileAt, LabelledImage, Source, SourceKind, Split
from alexnet.files.printable import printable

VALIDATION_NAMES = ("val", "valid", "validation", "test")


def detect(path: Path) -> dict[str, Path] | None:
    """The folders in a folder, by name; None where there are none."""
    return (subfolders(path) or None) if path.is_dir() else None


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders in a folder, sorted: name to path. Hidden ones and macOS's `__MACOSX` are left out.

    ValueError for two whose names become the same text when they are escaped.
    """
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and e.name != "__MACOSX" and _is_folder(e)]
    folders = {printable(name): folder / name for name in sorted(found, key=printable)}
    if len(folders) < len(found):
        twice = some(name for name in folders if sum(printable(other) == name for other in found) > 1)
        raise ValueError(f"{folder} holds two folders that are both written {twice}: rename one of them")
    return folders


def open_folder(path: Path, inside: dict[str, Path], val_fraction: float | None, seed: int) -> Source:
    """The folders `inside` a path: `train` and `val` (or a name like it) with class folders in them, or class folders.

    Without a validation folder, `val_fraction` of every class (0.1 when None) is held out; with 0 there is no
    validation split.
    """
    train, validation = _train_and_validation(path, inside)
    folders = subfolders(train)
    classes = tuple(Class(name, known_name(name)) for name in folders)
    _check_classes(path, train, folders)
    if validation is None:
        fraction = 0.1 if val_fraction is None else val_fraction
        splits = split_classes(
            lambda: _listings(path, classes, folders),
            lambda: [_count(folder) for folder in folders.values()],
            fraction,
            seed,
        )
    else:
        others = subfolders(validation)
        if not others:
            raise ValueError(f"{validation} holds no class folders: it needs one for every folder in {train}")
        _check_same(train, folders, validation, others)
        splits = {"train": folder_split(path, classes, folders), "val": folder_split(path, classes, others)}
    return Source(KIND.name, path, classes, splits, takes_every_file=True)


KIND = SourceKind(
    "folder", "class folders (<class>/*, or train/<class>/* and val/<class>/*)", detect=detect, open=open_folder
)


def folder_split(root: Path, classes: tuple[Class, ...], folders: Mapping[str, Path]) -> Split:
    """All images of the class folders `folders` (wnid to folder). Their keys are paths below `root`."""
    return Split(
        lambda: all_images(_listings(root, classes, folders)), lambda: sum(_count(each) for each in folders.values())
    )


def _listings(root: Path, classes: tuple[Class, ...], folders: Mapping[str, Path]) -> Iterator[ClassListing]:
    for label, (wnid, _) in enumerate(classes):
        if (folder := folders.get(wnid)) is not None:

            def image(name: str, folder: Path = folder, label: int = label) -> LabelledImage:
                key = f"{folder.relative_to(root).as_posix()}/{name}"
                return LabelledImage(printable(key), label, FileAt(f"{folder}/{name}"))

            yield ClassListing(wnid, ((name,) for name in files_below(folder)), image)


def _count(folder: Path) -> int:
    return sum(1 for _ in files_below(folder))


def files_below(folder: Path) -> Iterator[str]:
    """All files below a folder that are not hidden, as paths relative to it, sorted folder by folder."""
    above = {_identity(str(each)) for each in folder.absolute().parents}
    yield from _walk(str(folder), "", above)


def _walk(folder: str, prefix: str, above: set[tuple[int, int]]) -> Iterator[str]:
    identity = _identity(folder)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        if _is_folder(entry):
            yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity})
        elif _is_file(entry):
            yield prefix + entry.name


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Files, and broken links, which are reported as unreadable images; no pipes, which would block their reader."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _train_and_validation(path: Path, inside: Mapping[str, Path]) -> tuple[Path, Path | None]:
    """The folders of class folders: that of the training images and, if there is one, that of the validation images."""
    found = {name.casefold(): folder for name, folder in inside.items()}
    if "train" in found and len(found) < len(inside):
        alike = some(str(name) for name in inside if sum(name.casefold() == other.casefold() for other in inside) > 1)
        raise ValueError(f"{path} holds folders that differ only in capital letters, {alike}: rename or merge them")
    train = found.get("train")
    if train is None or not subfolders(train):
        return path, None
    for name in VALIDATION_NAMES:
        # A test folder often has no labels; the other names promise some.
        if name in found and (name != "test" or subfolders(found[name])):
            return train, found[name]
    return train, None


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


def _check_same(train: Path, folders: Mapping[str, Path], validation: Path, others: Mapping[str, Path]) -> None:
    """ValueError unless the training and the validation folder have the same classes."""
    if unknown := others.keys() - folders.keys():
        raise ValueError(f"{validation} has classes that {train} does not have: {some(unknown)}")
    if missing := folders.keys() - others.keys():
        raise ValueError(
            f"{validation} has no folder for these classes of {train}: {some(missing)}; "
            "create empty ones if they have no validation images"
        )
