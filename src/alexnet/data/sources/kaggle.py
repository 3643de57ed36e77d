"""ILSVRC-2012 as Kaggle packs it: `ILSVRC/Data/CLS-LOC/{train,val}`.

The validation pictures lie in one folder; `LOC_val_solution.csv` has their labels, `LOC_synset_mapping.txt`
the names of the classes. Both lie beside `ILSVRC`, or in any folder from there down to the pictures.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.folders import folder_split, subfolders
from alexnet.data.sources.source import FileAt, Picture, Source, Split, printable, some

LABELS, NAMES = "LOC_val_solution.csv", "LOC_synset_mapping.txt"


def find_kaggle(path: Path) -> Path | None:
    """The folder `CLS-LOC`, where `path` is that, the folder above `ILSVRC`, or any between; else None."""
    for inside in ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC", "."):
        pictures = path / inside
        if pictures.absolute().name == "CLS-LOC" and (pictures / "train").is_dir() and (pictures / "val").is_dir():
            # Who sorted the validation pictures into class folders needs no list of labels.
            return None if subfolders(pictures / "val") else pictures
    return None


def open_kaggle(path: Path, pictures: Path) -> Source:
    """The pictures under `pictures`, the folder that `find_kaggle` found for `path`."""
    labels = _find(pictures, LABELS)
    if labels is None:
        raise ValueError(f"{LABELS} with the labels of {pictures / 'val'} is missing: put it beside the ILSVRC folder")
    folders = subfolders(pictures / "train")
    names = _read_names(_find(pictures, NAMES)) or {wnid: known_name(wnid) for wnid in folders}
    if len(folders) < 2:
        raise ValueError(f"{pictures / 'train'} holds {len(folders)} class folders, and two classes are the least")
    if unknown := folders.keys() - names.keys():
        raise ValueError(f"{pictures / 'train'} has class folders that {NAMES} does not name: {some(unknown)}")
    classes = tuple(Class(wnid, names[wnid]) for wnid in sorted(names))
    truth = _read_labels(labels, {wnid: label for label, (wnid, _) in enumerate(classes)})

    def val_pictures() -> Iterator[Picture]:
        for name, label in truth:
            yield Picture(f"val/{name}.JPEG", label, FileAt(str(pictures / "val" / f"{name}.JPEG")))

    splits = {
        "train": folder_split(pictures, classes, folders),
        "val": Split(val_pictures, lambda: len(truth)),
    }
    return Source("kaggle", path, classes, splits)


def _find(pictures: Path, name: str) -> Path | None:
    folders = [pictures, *list(pictures.absolute().parents)[:3]]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _read_names(path: Path | None) -> dict[str, str]:
    """Lines of a wnid, a space and its words."""
    if path is None:
        return {}
    lines = [line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {wnid: words[0].strip() if words else known_name(wnid) for wnid, *words in lines}


def _read_labels(path: Path, label_of: dict[str, int]) -> list[tuple[str, int]]:
    """Names, sorted, and labels of the validation pictures; a line is `name,wnid x1 y1 x2 y2 ...`."""
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
                raise ValueError(f"{path}, line {number}: {name!r} is no name of a picture in the folder val")
            if name in found:
                raise ValueError(f"{path}, line {number}: {name} has a label already; delete one of the lines")
            found[name] = label_of[wnid]
    return sorted(found.items())
