"""Tiny ImageNet's layout: class folders for training, and validation images in one folder with a file of their labels.

    train/<wnid>/images/*    val/images/*    val/val_annotations.txt    wnids.txt    words.txt    test/images/*

Each line of `val_annotations.txt` is a file name, a tab, and a wnid (then a box, which is not used); `words.txt` has
the names of the classes. The images of `test` have no labels.
"""

from pathlib import Path
from typing import NamedTuple

from alexnet.data.classes import Class, known_name
from alexnet.data.sources.folders import VALIDATION_NAMES, Tree, splits_inside
from alexnet.data.sources.names import some
from alexnet.data.sources.source import Choices, FileAt, LabelledImage, Source, SourceKind, Split
from alexnet.data.sources.walk import subfolders, survey
from alexnet.files.printable import printable
from alexnet.files.text import read_text

IMAGES, WORDS = "images", "words.txt"


class Found(NamedTuple):
    """The parts of the layout."""

    train: Path
    images: Path
    """The folder of the validation images."""
    labels: Path
    """The file of their labels."""
    others: tuple[Path, ...]
    """Folders that are not used."""


def detect(path: Path) -> Found | None:
    """`train` with class folders, beside `val` with the folder `images` alone and a file `*annotations*.txt`."""
    if not path.is_dir():
        return None
    inside = subfolders(path)
    found = splits_inside(path, inside)
    train, validation = found.get("train"), next((found[n] for n in VALIDATION_NAMES if n in found), None)
    if train is None or validation is None or list(subfolders(validation)) != [IMAGES]:
        return None
    files = sorted(file for file in validation.glob("*annotations*.txt") if not file.name.startswith("."))
    others = tuple(folder for folder in inside.values() if folder not in (train, validation))
    return Found(train, validation / IMAGES, files[0], others) if files else None


def open_annotated(path: Path, found: Found, _choices: Choices) -> Source:
    """There always is a validation split."""
    folders = subfolders(found.train)
    if len(folders) < 2:
        raise ValueError(f"{found.train} holds {len(folders)} class folders; at least two are needed")
    words = _read_words(path / WORDS)
    classes = tuple(Class(wnid, words.get(wnid, known_name(wnid))) for wnid in folders)
    labels = _read_labels(found.labels, {wnid: label for label, wnid in enumerate(folders)})
    tree = Tree(path)

    def val_images() -> list[LabelledImage]:
        below = found.images.relative_to(path).as_posix()
        return [LabelledImage(f"{below}/{name}", label, FileAt(f"{found.images}/{name}")) for name, label in labels]

    levels = [path, found.train, found.images.parent]
    return Source(
        KIND.name,
        path,
        classes,
        {"train": tree.split(classes, folders), "val": Split(lambda: iter(val_images()), lambda: len(labels))},
        takes_every_file=True,
        remarks=tuple(f"{printable(str(folder))} is left out: it has no labels" for folder in found.others),
        find_contents=lambda: tree.contents(folders.values(), levels, [survey(found.images)]),
    )


KIND = SourceKind(
    "annotated",
    "Tiny ImageNet (train/<class>/*, val/images/* and val/val_annotations.txt)",
    detect=detect,
    open=open_annotated,
)


def _read_words(path: Path) -> dict[str, str]:
    """The names of the classes by wnid, from lines of a wnid, a tab and words."""
    if not path.is_file():
        return {}
    lines = [line.split("\t", 1) for line in read_text(path).split("\n") if line.strip()]
    return {printable(wnid.strip()): printable(words[0].strip()) for wnid, *words in lines if words}


def _read_labels(path: Path, label_of: dict[str, int]) -> list[tuple[str, int]]:
    """Names, sorted, and labels of the validation images."""
    found: dict[str, int] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        name, *rest = (printable(part.strip()) for part in line.split("\t", 2)[:2])
        if not rest or rest[0] not in label_of:
            raise ValueError(
                f"{path}, line {number}: {(rest or ['nothing'])[0]!r:.80} is not a class of the training folder, whose "
                f"classes are {some(label_of)}"
            )
        if "/" in name or name in ("", ".", ".."):
            raise ValueError(f"{path}, line {number}: {name!r:.80} is not the name of an image in the folder {IMAGES}")
        if name in found:
            raise ValueError(f"{path}, line {number}: {name} already has a label; delete one of the lines")
        found[name] = label_of[rest[0]]
    return sorted(found.items())
