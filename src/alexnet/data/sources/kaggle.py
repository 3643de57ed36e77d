"""ILSVRC-2012 as Kaggle packs it: `ILSVRC/Data/CLS-LOC/{train,val}`.

The validation images are in one folder. `LOC_val_solution.csv` has their labels and `LOC_synset_mapping.txt` the names
of the classes; both are beside `ILSVRC`, or in any folder from there down to the images.
"""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.folders import Tree
from alexnet.data.sources.names import some
from alexnet.data.sources.source import Choices, Contents, FileAt, LabelledImage, Source, SourceKind, Split
from alexnet.data.sources.walk import LeftOut, Survey, subfolders
from alexnet.files.printable import printable
from alexnet.files.text import read_text

LABELS, NAMES = "LOC_val_solution.csv", "LOC_synset_mapping.txt"


def detect(path: Path) -> Path | None:
    """The folder `CLS-LOC`, where `path` is that, the folder above `ILSVRC`, or any between; else None."""
    for inside in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "."):
        images = path / inside
        if images.absolute().name == "CLS-LOC" and (images / "train").is_dir() and (images / "val").is_dir():
            # Validation images sorted into class folders need no list of labels: those are ordinary folders.
            return None if subfolders(images / "val") else images
    return None


def open_kaggle(path: Path, images: Path, _choices: Choices) -> Source:
    """The images below `images`, the folder `CLS-LOC`. There always is a validation split."""
    labels = _find(images, LABELS)
    if labels is None:
        raise ValueError(f"{LABELS} with the labels of {images / 'val'} is missing: put it beside the ILSVRC folder")
    folders = subfolders(images / "train")
    names = _read_names(_find(images, NAMES)) or {wnid: known_name(wnid) for wnid in folders}
    if len(folders) < 2:
        raise ValueError(f"{images / 'train'} holds {len(folders)} class folders; at least two are needed")
    if unknown := folders.keys() - names.keys():
        raise ValueError(f"{images / 'train'} has class folders that {NAMES} does not name: {some(unknown)}")
    classes = tuple(Class(wnid, names[wnid]) for wnid in sorted(names))
    truth = _read_labels(labels, {wnid: label for label, (wnid, _) in enumerate(classes)})

    tree = Tree(images)

    def val_images() -> Iterator[LabelledImage]:
        for name, label in truth:
            yield LabelledImage(f"val/{name}.JPEG", label, FileAt(str(images / "val" / f"{name}.JPEG")))

    def contents() -> Contents:
        digest = hashlib.sha256(repr(truth).encode()).digest()
        levels = [images / "train"]
        return tree.contents(folders.values(), levels, [Survey(len(truth), LeftOut(), digest)])

    splits = {"train": tree.split(classes, folders), "val": Split(val_images, lambda: len(truth))}
    return Source(KIND.name, path, classes, splits, find_contents=contents)


KIND = SourceKind("kaggle", "Kaggle's ILSVRC folder", detect=detect, open=open_kaggle)


def _find(images: Path, name: str) -> Path | None:
    folders = [images, *list(images.absolute().parents)[:3]]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _read_names(path: Path | None) -> dict[str, str]:
    """The names of the classes by wnid, from lines of a wnid, a space and words."""
    if path is None:
        return {}
    lines = [line.strip().split(" ", 1) for line in read_text(path).split("\n") if line.strip()]
    return {wnid: printable(words[0].strip()) if words else known_name(wnid) for wnid, *words in lines}


def _read_labels(path: Path, label_of: dict[str, int]) -> list[tuple[str, int]]:
    """Names, sorted, and labels of the validation images, from lines `name,wnid x1 y1 x2 y2 ...`."""
    found: dict[str, int] = {}
    for number, row in enumerate(_rows(path), 1):
        if not row or row[0].strip() == "ImageId":
            continue
        wnid = row[1].strip().split(" ", 1)[0] if len(row) > 1 else ""
        if wnid not in label_of:
            raise ValueError(f"{path}, line {number}: {wnid or 'nothing'!r:.80} is not a class of the training folder")
        name = printable(row[0].strip())
        if "/" in name or name in ("", ".", ".."):
            raise ValueError(f"{path}, line {number}: {name!r:.80} is not the name of an image in the folder val")
        if name in found:
            raise ValueError(f"{path}, line {number}: {name} already has a label; delete one of the lines")
        found[name] = label_of[wnid]
    return sorted(found.items())


def _rows(path: Path) -> Iterator[list[str]]:
    try:
        yield from csv.reader(read_text(path).split("\n"))
    except csv.Error as error:
        raise ValueError(f"{path} is no table of comma-separated values ({error})") from None
