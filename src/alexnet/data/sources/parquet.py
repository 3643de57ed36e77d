"""Parquet files as the Hugging Face hub ships ImageNet.

Files are called `train-00000-of-00294.parquet` and so on, with `validation-*` beside them. Column `image` holds structs
of encoded bytes and a file name; column `label` holds numbers whose names are in the schema. `test-*` is left out where
its labels are -1, as they are for ImageNet. The hub names ImageNet's classes by their words, in the order of the wnids.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.data.classes import Class, ilsvrc2012, known_name
from alexnet.data.sources.held_out import held_out_count
from alexnet.data.sources.parquet_file import ParquetAt, batches, count_rows, open_file, values
from alexnet.data.sources.source import Choices, LabelledImage, Source, SourceKind, Split
from alexnet.files.printable import printable

if TYPE_CHECKING:
    import numpy as np


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
    val_fraction, seed = choices.val_fraction, choices.seed
    """The splits that `detect` found. Where none of them is validation, `val_fraction` must be given."""
    if "train" not in files:
        raise ValueError(f"{path} holds {files[min(files)][0].name} but no train-*.parquet: put these there too")
    for shards in files.values():
        _check_shards(shards)
    columns = _find_columns(files["train"][0])
    classes, label_of = _find_classes(files["train"], columns)
    train = _Shards(files["train"], columns, label_of)
    validation = next(
        (files[n] for n in ("validation", "valid", "val", "test") if n in files and _labelled(files[n], columns)),
        None,
    )
    if validation is not None:
        splits = {"train": train.split(), "val": _Shards(validation, columns, label_of).split()}
    elif val_fraction is None:
        raise ValueError(
            f"{path} holds no validation-*.parquet: put them there, or say with --val-fraction how much of train to "
            "hold out"
        )
    elif val_fraction == 0:
        splits = {"train": train.split()}
    else:
        splits = {
            "train": train.part(val_fraction, seed, False),
            "val": train.part(val_fraction, seed, True),
        }
    return Source(KIND.name, path, classes, splits)


KIND = SourceKind("parquet", "train-*.parquet files", detect=detect, open=open_parquet)


@dataclass(frozen=True)
class _Columns:
    image: str
    """The column of the encoded bytes ("image.bytes")."""
    name: str | None
    """The column of the file names ("image.path")."""
    label: str
    names: list[str] | None
    """The names of the labels 0, 1, ..., where the schema has them."""


@dataclass(frozen=True)
class _Shards:
    """The files of one split."""

    files: list[Path]
    columns: _Columns
    label_of: dict[Any, int]

    def split(self) -> Split:
        """All images."""
        return Split(self.images, lambda: sum(map(count_rows, self.files)))

    def part(self, fraction: float, seed: int, held_out: bool) -> Split:
        """The images that are held out, or the others."""

        def images() -> Iterator[LabelledImage]:
            held = self.held_out(fraction, seed)
            return (image for row, image in enumerate(self.images()) if bool(held[row]) == held_out)

        return Split(images, lambda: int((self.held_out(fraction, seed) == held_out).sum()))

    def images(self) -> Iterator[LabelledImage]:
        for file in self.files:
            for row, (label, name) in enumerate(self.labels_and_names(file)):
                if label not in self.label_of:
                    raise ValueError(f"{file}, row {row}: label {label} is not one of the {len(self.label_of)} classes")
                key = f"{file.name}/{row}" + (f"/{printable(name)}" if name else "")
                yield LabelledImage(key, self.label_of[label], ParquetAt(str(file), self.columns.image, row))

    def labels_and_names(self, file: Path) -> Iterator[tuple[Any, str | None]]:
        """The label of each row as the file has it, and its file name, if there is one."""
        wanted = [self.columns.label] + ([self.columns.name] if self.columns.name else [])
        for batch in batches(file, wanted, 4096):
            labels = values(file, batch.column(self.columns.label))
            if self.columns.name:
                struct, _, field = self.columns.name.partition(".")
                yield from zip(labels, values(file, batch.column(struct).field(field)), strict=True)
            else:
                yield from ((label, None) for label in labels)

    def held_out(self, fraction: float, seed: int) -> "np.ndarray":
        """Bool [rows of all files]: which rows go to validation, drawn separately for each class."""
        import numpy as np

        labels = np.fromiter((image.label for image in self.images()), dtype=np.int32)
        held = np.zeros(len(labels), dtype=bool)
        for label in range(len(self.label_of)):
            rows = np.flatnonzero(labels == label)
            drawn = np.random.default_rng([seed, label]).permutation(rows)
            held[drawn[: held_out_count(len(rows), fraction)]] = True
        return held


def _find_columns(path: Path) -> _Columns:
    """The columns that the hub's description in the schema names; without one, `image` and `label`."""
    import pyarrow as pa

    with open_file(path) as file:
        schema = file.schema_arrow
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        kinds = {name: feature.get("_type") for name, feature in described.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} has a schema that cannot be read ({error}): download it again") from None
    image = next((name for name, kind in kinds.items() if kind == "Image"), "image")
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), "label")
    for name in (image, label):
        if name not in schema.names:
            raise ValueError(f"{path} has no column {name!r} (it has {', '.join(schema.names)}): no labelled images")
    names = described[label].get("names") if kinds.get(label) == "ClassLabel" else None
    kind = schema.field(image).type
    if not pa.types.is_struct(kind):
        return _Columns(image, None, label, names)
    fields = {kind.field(index).name for index in range(kind.num_fields)}
    if "bytes" not in fields:
        raise ValueError(f"{path}: the column {image!r} has no field 'bytes': the images are not in the file")
    return _Columns(f"{image}.bytes", f"{image}.path" if "path" in fields else None, label, names)


def _find_classes(files: list[Path], columns: _Columns) -> tuple[tuple[Class, ...], dict[Any, int]]:
    """The classes, sorted by wnid, and the index among them of each label in the files."""
    names = columns.names or _distinct(files, columns.label)
    if len(names) < 2 or len(set(names)) < len(names):
        found = f"{len(names)} labels with {len(set(names))} different names"
        raise ValueError(f"{files[0]} has {found}: at least two classes are needed, each with its own name")
    classes = _classes(names)
    order = sorted(range(len(names)), key=lambda index: classes[index].wnid)
    label_of = {(names[index] if columns.names is None else index): label for label, index in enumerate(order)}
    return tuple(classes[index] for index in order), label_of


def _classes(names: list[str]) -> list[Class]:
    """The classes of the labels 0, 1, ...; the 1000 of ILSVRC-2012, recognised by their words, get their wnids."""
    table = ilsvrc2012()
    if len(names) == len(table):
        first = [str(name).split(",")[0].strip().casefold() for name in names]
        same = sum(a == b.split(",")[0].casefold() for a, b in zip(first, table.values(), strict=True))
        if same >= 0.9 * len(table):  # lists of names differ in a few, such as the two cranes
            return [Class(wnid, name) for wnid, name in table.items()]
    return [Class(printable(str(name)), known_name(str(name))) for name in names]


def _distinct(shards: list[Path], label: str) -> list[Any]:
    """All labels in the files, sorted: the classes, where the schema names none."""
    import pyarrow as pa

    found: set[Any] = set()
    for shard in shards:
        for batch in batches(shard, [label], 1 << 16):
            try:
                found.update(values(shard, batch.column(0).unique()))
            except (pa.ArrowNotImplementedError, TypeError):  # lists, for example
                kind = batch.column(0).type
                raise ValueError(f"{shard}: the labels are of type {kind}, neither numbers nor words") from None
    return sorted(found - {None, -1})


def _labelled(shards: list[Path], columns: _Columns) -> bool:
    """Whether the first image has a label."""
    first = next(batches(shards[0], [columns.label], 1), None)
    return first is not None and first.column(0)[0].as_py() not in (None, -1)


def _check_shards(shards: list[Path]) -> None:
    """ValueError where names end in -00007-of-00294 and not all files are there."""
    for shard in shards:
        if (match := re.search(r"-of-0*(\d+)$", shard.stem)) and int(match[1]) != len(shards):
            raise ValueError(
                f"{shard.parent} has {len(shards)} of the {match[1]} files that {shard.name} belongs to: "
                "download the rest"
            )
