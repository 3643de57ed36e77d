"""Folders of images: `train/<class>/*` with `val/<class>/*`, or one folder of class folders.

The images of a class are all files below its folder, whatever they are called; hidden ones (a name that
starts with a dot) are not looked at. Links are followed, except one that leads back to a folder it lies in.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.source import FileAt, LabelledImage, Source, Split, held_out_count, hold_out, printable, some

VALIDATION_NAMES = ("val", "valid", "validation", "test")


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders in a folder, name to path, sorted; without hidden ones and macOS's `__MACOSX`.

    ValueError for two whose names differ only in bytes that cannot be written.
    """
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and e.name != "__MACOSX" and _is_folder(e)]
    folders = {printable(name): folder / name for name in sorted(found, key=printable)}
    if len(folders) < len(found):
        twice = some(name for name in folders if sum(printable(other) == name for other in found) > 1)
        raise ValueError(f"{folder} holds two folders that are both written {twice}: rename one of them")
    return folders


def open_folder(path: Path, val_fraction: float | None = None, seed: int = 0) -> Source:
    """A folder with the folders `train` and `val` (or a name like it) of class folders, or of class folders.

    Without a validation folder, `val_fraction` of every class (0.1 when None) becomes one; 0 leaves it out.
    """
    inside = subfolders(path)
    found = {name.casefold(): folder for name, folder in inside.items()}
    if "train" in found and len(found) < len(inside):
        alike = some(str(name) for name in inside if sum(name.casefold() == other.casefold() for other in inside) > 1)
        raise ValueError(f"{path} holds folders that differ only in capital letters, {alike}: rename or merge them")
    train, validation = found.get("train"), None
    if train is not None and subfolders(train):
        for name in VALIDATION_NAMES:
            # A test folder is often without labels; the other names promise some.
            if name in found and (name != "test" or subfolders(found[name])):
                validation = found[name]
                break
    else:
        train = path
    folders = subfolders(train)
    classes = tuple(Class(name, known_name(name)) for name in folders)
    _check_classes(path, train, folders)
    if validation is None:
        fraction = 0.1 if val_fraction is None else val_fraction
        splits = held_out_splits(path, classes, folders, fraction, seed)
    else:
        others = subfolders(validation)
        if not others:
            raise ValueError(f"{validation} holds no class folders: it needs one for every folder in {train}")
        _check_same(train, folders, validation, others)
        splits = {"train": folder_split(path, classes, folders), "val": folder_split(path, classes, others)}
    return Source("folder", path, classes, splits)


def folder_split(root: Path, classes: tuple[Class, ...], folders: Mapping[str, Path]) -> Split:
    """All images of the class folders `folders` (wnid to folder); keys are paths below `root`."""

    def images() -> Iterator[LabelledImage]:
        for label, (wnid, _) in enumerate(classes):
            if wnid in folders:
                for name in files_below(folders[wnid]):
                    yield _image(root, folders[wnid], name, label)

    return Split(images, lambda: sum(1 for wnid in folders for _ in files_below(folders[wnid])))


def held_out_splits(
    root: Path, classes: tuple[Class, ...], folders: Mapping[str, Path], fraction: float, seed: int
) -> dict[str, Split]:
    """Two splits out of the same class folders: `fraction` of every class is "val", the rest "train"."""
    if fraction == 0:
        return {"train": folder_split(root, classes, folders)}

    def images(held_out: bool) -> Iterator[LabelledImage]:
        for label, (wnid, _) in enumerate(classes):
            if wnid not in folders:
                continue
            names = list(files_below(folders[wnid]))
            held = hold_out(names, wnid, fraction, seed)
            for name in names:
                if (name in held) == held_out:
                    yield _image(root, folders[wnid], name, label)

    def count(held_out: bool) -> int:
        counts = [sum(1 for _ in files_below(folder)) for folder in folders.values()]
        return sum(held_out_count(n, fraction) if held_out else n - held_out_count(n, fraction) for n in counts)

    return {
        "train": Split(lambda: images(False), lambda: count(False)),
        "val": Split(lambda: images(True), lambda: count(True)),
    }


def files_below(folder: Path) -> Iterator[str]:
    """All files below a folder that are not hidden: paths from it on, sorted, folder by folder."""
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


def _image(root: Path, folder: Path, name: str, label: int) -> LabelledImage:
    place = folder.relative_to(root).as_posix()
    return LabelledImage(printable(f"{place}/{name}"), label, FileAt(f"{folder}/{name}"))


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Files and broken links, to be reported as bad images; not pipes, which would block their reader."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _check_classes(path: Path, train: Path, folders: Mapping[str, Path]) -> None:
    if len(folders) > 1:
        for folder in folders.values():
            if {"train", "val"} <= subfolders(folder).keys():
                raise ValueError(f"{folder} is no class folder but a data set of its own: give that, not {path}")
        return
    inside = [folder for folder in folders.values() if subfolders(folder)]
    hint = f"; did you mean {inside[0]}?" if inside else ""
    if folders:
        raise ValueError(f"{train} holds only one class folder, {next(iter(folders))}, and two are the least{hint}")
    raise ValueError(
        f"{train} holds no classes: expected train/<class>/* and val/<class>/*, a folder of class folders, "
        "the three ILSVRC2012 archives, Kaggle's ILSVRC folder or train-*.parquet files"
    )


def _check_same(train: Path, folders: Mapping[str, Path], validation: Path, others: Mapping[str, Path]) -> None:
    if unknown := others.keys() - folders.keys():
        raise ValueError(f"{validation} has classes that {train} has not: {some(unknown)}")
    if missing := folders.keys() - others.keys():
        raise ValueError(
            f"{validation} has no folder for these classes of {train}: {some(missing)}; "
            "make empty ones if this is meant"
        )
