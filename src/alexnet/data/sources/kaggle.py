"""ILSVRC-2012 as Kaggle packs it: `ILSVRC/Data/CLS-LOC/{train,val}`.

The validation images lie in one folder; `LOC_val_solution.csv` has their labels, `LOC_synset_mapping.txt`
the names of the classes. Both lie beside `ILSVRC`, or in any folder from there down to the images.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.folders import folder_split, subfolders
from alexnet.data.sources.source import FileAt, LabelledImage, Source, Split, printable, some

LABELS, NAMES = "LOC_val_solution.csv", "LOC_synset_mapping.txt"


def find_kaggle(path: Path) -> Path | None:
    """The folder `CLS-LOC`, where `path` is that, the folder above `ILSVRC`, or any between; else None."""
    for inside in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "."):
        images = path / inside
        if images.absolute().name == "CLS-LOC" and (images / "train").is_dir() and (images / "val").is_dir():
            # Who sorted the validation images into class folders needs no list of labels.
            return None if subfolders(images / "val") else images
    return None


def open_kaggle(path: Path, images: Path) -> Source:
    """The images under `images`, the folder that `find_kaggle` found for `path`."""
    labels = _find(images, LABELS)
    if labels is None:
        raise ValueError(f"{LABELS} with the labels of {images / 'val'} is missing: put it beside the ILSVRC folder")
    folders = subfolders(images / "train")
    names = _read_names(_find(images, NAMES)) or {wnid: known_name(wnid) for wnid in folders}
    if len(folders) < 2:
        raise ValueError(f"{images / 'train'} holds {len(folders)} class folders, and two classes are the least")
    if unknown := folders.keys() - names.keys():
        raise ValueError(f"{images / 'train'} has class folders that {NAMES} does not name: {some(unknown)}")
    classes = tuple(Class(wnid, names[wnid]) for wnid in sorted(names))
    truth = _read_labels(labels, {wnid: label for label, (wnid, _) in enumerate(classes)})

    def val_images() -> Iterator[LabelledImage]:
        for name, label in truth:
            yield LabelledImage(f"val/{name}.JPEG", label, FileAt(str(images / "val" / f"{name}.JPEG")))

    splits = {
        "train": folder_split(images, classes, folders),
        "val": Split(val_images, lambda: len(truth)),
    }
    return Source("kaggle", path, classes, splits)


def _find(images: Path, name: str) -> Path | None:
    folders = [images, *list(images.absolute().parents)[:3]]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _read_names(path: Path | None) -> dict[str, str]:
    """Lines of a wnid, a space and its words."""
    if path is None:
        return {}
    lines = [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {wnid: words[0].strip() if words else known_name(wnid) for wnid, *words in lines}


def _read_labels(path: Path, label_of: dict[str, int]) -> list[tuple[str, int]]:
    """Names, sorted, and labels of the validation images; a line is `name,wnid x1 y1 x2 y2 ...`."""
    found: dict[str, int] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if not row or row[0] == "ImageId":
                continue
            wnid = row[1].split(" ", 1)[0] if len(row) > 1 else ""
            if wnid not in label_of:
                raise ValueError(f"{path}, line {number}: {wnid or 'nothing'!r} is no class of the training folder")
            name = printable(row[0])
            if Path(name).name != name:
                raise ValueError(f"{path}, line {number}: {name!r} is no name of an image in the folder val")
            if name in found:
                raise ValueError(f"{path}, line {number}: {name} has a label already; delete one of the lines")
            found[name] = label_of[wnid]
    return sorted(found.items())
