"""Parquet files as the Hugging Face hub ships ImageNet.

Files are called `train-00000-of-00294.parquet` and so on, with `validation-*` beside them. Column `image` holds structs
of encoded bytes and a file name; column `label` holds numbers whose names are in the schema. `test-*` is the third
split, or the validation split where there is no other; it is left out where its labels are -1, as for ImageNet.
The hub names ImageNet's classes by their words, in the order of the wnids.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.data.classes import Class, ilsvrc2012, known_name
from alexnet.data.sources.held_out import held_out_count
from alexnet.data.sources.names import some
from alexnet.data.sources.parquet_columns import LONGEST_NAME, MOST_CLASSES, Columns, find_columns
from alexnet.data.sources.parquet_file import ParquetAt, batches, count_rows, values
from alexnet.data.sources.source import Choices, LabelledImage, Source, SourceKind, Split, contents_of
from alexnet.files.printable import printable

if TYPE_CHECKING:
    import numpy as np


VALIDATION_NAMES = ("validation", "valid", "val", "test")
"""The first one that is there, and has labels, is the validation split."""


def detect(path: Path) -> dict[str, list[Path]] | None:
    """The files of each split ("train", "validation", "test") in `path` or `path/data`; None where there are none."""
    for folder in (path, path / "data"):
        found: dict[str, list[Path]] = {}
        for file in sorted(folder.glob("*.parquet")):
            if match := re.fullmatch(r"(train|validation|valid|val|test)([-_.].*)?\.parquet", file.name):
                found.setdefault(match[1], []).append(file)
        if found:
            return found
    return None


def open_parquet(path: Path, files: dict[str, list[Path]], choices: Choices) -> Source:
    """The splits that `detect` found. Where none of them is validation, `val_fraction` must be given."""
    if "train" not in files:
        raise ValueError(f"{path} holds {files[min(files)][0].name} but no train-*.parquet: put these there too")
    for shards in files.values():
        _check_shards(shards)
    columns = {file: find_columns(file, choices.image_column, choices.label_column) for file in files["train"]}
    numbering = _find_classes(columns)
    train = numbering.shards(columns)
    fraction = choices.val_fraction
    splits: dict[str, Split] = {}
    used = list(files["train"])
    for name in VALIDATION_NAMES:
        held = {file: find_columns(file, choices.image_column, choices.label_column) for file in files.get(name, ())}
        if held and _labelled(held):
            # Images to test with stay apart where there are others to validate with.
            is_third = name == "test" and ("val" in splits or fraction is not None)
            if (split := "test" if is_third else "val") not in splits:
                splits[split] = numbering.shards(held).split()
                used += files[name]
    if "val" not in splits and fraction is None:
        raise ValueError(
            f"{path} holds no validation-*.parquet: put them there, or say with --val-fraction how much of train to "
            "hold out"
        )
    if "val" not in splits and fraction:
        splits["val"] = train.part(fraction, choices.seed, True)
        splits["train"] = train.part(fraction, choices.seed, False)
    else:
        splits["train"] = train.split()
    splits = {name: splits[name] for name in ("train", "val", "test") if name in splits}
    remarks = tuple(
        f"{shards[0].parent / name}-*.parquet is left out: "
        + ("it has no labels" if name == "test" else "there is another validation split")
        for name, shards in files.items()
        if not {*shards} <= {*used}
    )
    return Source(
        KIND.name,
        path,
        numbering.classes,
        splits,
        remarks=remarks,
        find_contents=lambda: contents_of(used, sum(map(count_rows, used))),
    )


KIND = SourceKind("parquet", "train-*.parquet files", detect=detect, open=open_parquet, has_columns=True)


@dataclass(frozen=True)
class _Shards:
    """The files of one split."""

    columns: dict[Path, Columns]
    """By file."""
    label_of: dict[Path, dict[Any, int]]
    """By file: the class of each label in it."""

    def split(self) -> Split:
        """All images."""
        return Split(self.images, lambda: sum(map(count_rows, self.columns)))

    def part(self, fraction: float, seed: int, held_out: bool) -> Split:
        """The images that are held out, or the others."""

        def images() -> Iterator[LabelledImage]:
            held = self.held_out(fraction, seed)
            return (image for row, image in enumerate(self.images()) if bool(held[row]) == held_out)

        return Split(images, lambda: int((self.held_out(fraction, seed) == held_out).sum()))

    def images(self) -> Iterator[LabelledImage]:
        for file, columns in self.columns.items():
            label_of = self.label_of[file]
            for row, (label, name) in enumerate(_labels_and_names(file, columns)):
                if label is None:
                    raise ValueError(f"{file}, row {row}, has no label")
                if label not in label_of:
                    found = f"label {printable(str(label))[:LONGEST_NAME]}"
                    raise ValueError(f"{file}, row {row}: {found} is not one of the {len(label_of)} classes")
                key = f"{file.name}/{row}" + (f"/{printable(name[:LONGEST_NAME])}" if name else "")
                yield LabelledImage(printable(key), label_of[label], ParquetAt(str(file), columns.image, row))

    def held_out(self, fraction: float, seed: int) -> "np.ndarray":
        """Bool [rows of all files]: which rows go to validation, drawn separately for each class."""
        import numpy as np

        labels = np.fromiter((image.label for image in self.images()), dtype=np.int32)
        held = np.zeros(len(labels), dtype=bool)
        for label in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == label)
            drawn = np.random.default_rng([seed, label]).permutation(rows)
            held[drawn[: held_out_count(len(rows), fraction)]] = True
        return held


@dataclass(frozen=True)
class _Numbering:
    """The classes, and which of them a name or a label means."""

    classes: tuple[Class, ...]
    class_of: dict[Any, int]
    columns: Columns
    """Of a training file, `file`."""
    file: Path

    def shards(self, columns: dict[Path, Columns]) -> _Shards:
        """Files whose labels are mapped to the classes: by their names where they have names.

        ValueError where only some files name their labels, or one names a class that no training file has.
        """
        return _Shards(columns, {file: self._label_of(file, each.names) for file, each in columns.items()})

    def _label_of(self, file: Path, names: tuple[str, ...] | None) -> dict[Any, int]:
        if (names is None) != (self.columns.names is None):
            named, other = (self.file, file) if names is None else (file, self.file)
            raise ValueError(f"{named} names its labels and {other} does not: which number is which class is unknown")
        if names is None:
            return self.class_of
        if unknown := set(names) - self.class_of.keys():
            raise ValueError(f"{file} has classes that {self.file} does not have: {some(map(printable, unknown))}")
        return {index: self.class_of[name] for index, name in enumerate(names)}


def _labels_and_names(file: Path, columns: Columns) -> Iterator[tuple[Any, str | None]]:
    """The label of each row as the file has it, and its file name, if there is one."""
    wanted = [columns.label] + ([columns.name] if columns.name else [])
    for batch in batches(file, wanted, 4096):
        labels = values(file, batch.column(columns.label))
        if columns.name:
            struct, _, field = columns.name.partition(".")
            yield from zip(labels, values(file, batch.column(struct).field(field)), strict=True)
        else:
            yield from ((label, None) for label in labels)


def _find_classes(columns: dict[Path, Columns]) -> _Numbering:
    """The classes of the training files, sorted by wnid: by the names of all files, else by the labels themselves."""
    first = next(iter(columns))
    for file, each in columns.items():
        if each.names is not None and len(set(each.names)) < len(each.names):
            raise ValueError(_too_few(file, each.names))
    # The names of all files, in the order in which they come first.
    names: list[Any] = list(dict.fromkeys(name for each in columns.values() for name in each.names or ()))
    names = names or _distinct(columns)
    if len(names) < 2:
        raise ValueError(_too_few(first, names))
    named = _classes(names)
    order = sorted(range(len(names)), key=lambda index: named[index].wnid)
    classes = tuple(named[index] for index in order)
    if len({each.wnid for each in classes}) < len(classes):
        raise ValueError(_too_few(first, [each.wnid for each in classes]))
    return _Numbering(classes, {names[index]: label for label, index in enumerate(order)}, columns[first], first)


def _too_few(file: Path, names: Collection[Any]) -> str:
    found = f"{len(names)} labels with {len(set(names))} different names"
    return f"{file} has {found}: at least two classes are needed, each with its own name"


def _classes(names: list[Any]) -> list[Class]:
    """The classes of the labels 0, 1, ...; the 1000 of ILSVRC-2012, recognised by their words, get their wnids."""
    table = ilsvrc2012()
    if len(names) == len(table):
        first = [str(name).split(",")[0].strip().casefold() for name in names]
        same = sum(a == b.split(",")[0].casefold() for a, b in zip(first, table.values(), strict=True))
        if same >= 0.9 * len(table):  # lists of names differ in a few, such as the two cranes
            return [Class(wnid, name) for wnid, name in table.items()]
    return [Class(printable(str(name)), known_name(str(name))) for name in names]


def _distinct(columns: dict[Path, Columns]) -> list[Any]:
    """All labels in the files, sorted: the classes, where the schema names none."""
    found: set[Any] = set()
    for file, each in columns.items():
        for batch in batches(file, [each.label], 1 << 16):
            found.update(values(file, batch.column(0).unique()))
            if len(found) > MOST_CLASSES or any(len(str(label)) > LONGEST_NAME for label in found):
                raise ValueError(f"{file} has more than {MOST_CLASSES:,} different labels, or texts in place of labels")
    kinds = {type(label) for label in found - {None}}
    if len(kinds) > 1:
        raise ValueError(f"{next(iter(columns)).parent} has numbers as labels in some files and words in others")
    return sorted(found - {None, -1})


def _labelled(columns: dict[Path, Columns]) -> bool:
    """Whether the first image has a label."""
    file, each = next(iter(columns.items()))
    first = next(batches(file, [each.label], 1), None)
    return first is not None and first.column(0)[0].as_py() not in (None, -1)


def _check_shards(shards: list[Path]) -> None:
    """ValueError where names end in -00007-of-00294 and not all files are there."""
    for shard in shards:
        if (match := re.search(r"-of-0*(\d+)$", shard.stem)) and int(match[1]) != len(shards):
            raise ValueError(
                f"{shard.parent} has {len(shards)} of the {match[1]} files that {shard.name} belongs to: "
                "download the rest"
            )
