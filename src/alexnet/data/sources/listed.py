"""A folder of images with a table of their labels: CSV, TSV, JSON lines, or Caffe's lists of `PATH LABEL`.

    labels.csv (or .tsv, .jsonl)             beside images in one folder
    metadata.csv, metadata.jsonl             as the Hugging Face hub has them, in the folder or in that of each split
    any table                                that `--labels FILE` names

Paths in a table are relative to the folder of the images, and never lead out of it.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from alexnet.data.sources.records import ROLES, Record, one_line, open_records
from alexnet.data.sources.source import Choices, Contents, FileAt, Source, SourceKind
from alexnet.data.sources.table import Layout, Row, find_columns, has_labels, is_json, is_list, rows_of
from alexnet.data.sources.walk import holds_images, subfolders
from alexnet.files.printable import printable

TABLES = ("metadata.csv", "metadata.jsonl", "labels.csv", "labels.tsv", "labels.jsonl")
"""Names of tables that are detected; the first one that is there counts."""
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".JPG", ".JPEG", ".PNG")
"""What a table may leave away from the names of its images."""
MOST_TRIED, MOST_FOLDERS = 100, 20
"""Rows by which it is found out where the images are; folders that are tried."""


class Table(NamedTuple):
    """A table of the images in a folder, perhaps all of one split."""

    file: Path
    folder: Path
    split: str | None = None


class Names(NamedTuple):
    """What stands before and after the names of a table in the names of the files."""

    before: str
    after: str


def detect(path: Path) -> list[Table] | None:
    """The tables of a folder; None where there are none, or where class folders give the labels."""
    if not path.is_dir():
        return None
    for name in TABLES:
        if (path / name).is_file():
            is_metadata = name.startswith("metadata") and has_labels(path / name)
            if is_metadata or (name.startswith("labels") and (holds_images(path) or len(subfolders(path)) < 2)):
                return [Table(path / name, path)]
    found = []
    for inside, folder in subfolders(path).items():
        table = next((folder / name for name in TABLES[:2] if (folder / name).is_file()), None)
        if (split := ROLES.get(inside.casefold())) and table and has_labels(table):
            found.append(Table(table, folder, split))
    return found if any(table.split == "train" for table in found) else None


def open_listed(path: Path, tables: list[Table], choices: Choices) -> Source:
    """The images that the tables name. Where they say no split, `val_fraction` of every class (0.1) is held out."""
    opened = [(table, *_open_table(table, choices)) for table in tables]

    def records() -> Iterator[Record]:
        for table, layout, names in opened:
            yield from _records(path, table, layout, names)

    def contents(count: int) -> Contents:
        digest = hashlib.sha256()
        for name, label, location, split in records():
            length = location.length() if isinstance(location, FileAt) else 0
            digest.update(f"{name}\0{label}\0{split}\0{length}\n".encode())
        return Contents(count, digest.hexdigest(), {})

    unlabelled = sum(row.label == "" for table, layout, _ in opened for row in rows_of(table.file, layout))
    remarks = [f"{printable(str(table.file))}: {layout.described}" for table, layout, _ in opened]
    if unlabelled:
        remarks.append(f"{unlabelled:,} rows without a label are left out")
    return open_records(KIND.name, path, records, choices, remarks=tuple(remarks), find_contents=contents)


def _open_table(table: Table, choices: Choices) -> tuple[Layout, Names]:
    """Where a table has what, and where its images are."""
    layout = find_columns(table.file, choices)
    names = find_names(table, layout)
    if not layout.has_header and not is_json(table.file) and not is_list(table.file):
        first = next(rows_of(table.file, layout), None)
        if first and not (table.folder / file_of(first.name, names)).exists():  # as others are, it is no image
            layout = layout._replace(has_header=True)
    return layout, names


KIND = SourceKind(
    "listed",
    "images in one folder with labels.csv, .tsv or .jsonl, or metadata.csv or .jsonl as the hub has it",
    detect=detect,
    open=open_listed,
    has_columns=True,
)


def open_with_table(path: Path, file: Path, choices: Choices) -> Source:
    """The images in the folder `path` that the table `file` names."""
    if not path.is_dir():
        raise ValueError(f"{path} is not a folder: with --labels, give the folder that the table's paths start from")
    if not file.is_file():
        raise ValueError(f"{file} is not a file: --labels takes a table of images and labels")
    return open_listed(path, [Table(file, path)], choices)


def find_names(table: Table, layout: Layout) -> Names:
    """What stands before and after the names of a table in the names of the files: `images/` and `.jpg`, perhaps.

    Raises ValueError where none of the first images is there.
    """
    first = [row for row in islice(rows_of(table.file, layout), MOST_TRIED) if is_inside(row.name)]
    inside = [f"{folder.name}/" for folder in islice(subfolders(table.folder).values(), MOST_FOLDERS)]
    tried = [Names(before, after) for before in ("", *inside) for after in ENDINGS]
    there = {each: sum((table.folder / file_of(row.name, each)).exists() for row in first) for each in tried}
    best = max(tried, key=lambda each: there[each])  # of equals the first, which adds least
    if first and not there[best]:
        raise ValueError(
            f"None of the first {len(first)} images of {table.file} is in {table.folder}; the first is "
            f"{printable(first[0].name)}: give the folder that its paths start from"
        )
    return best


def file_of(name: str, names: Names) -> str:
    """The path of an image below the folder of its table. Windows writes paths with backslashes."""
    return names.before + (name if "/" in name else name.replace("\\", "/")) + names.after


def is_inside(name: str) -> bool:
    """Whether a path stays in its folder: relative, without `..`."""
    parts = name.replace("\\", "/").split("/")
    return not (name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name)


def _records(path: Path, table: Table, layout: Layout, names: Names) -> Iterator[Record]:
    below = table.folder.relative_to(path).as_posix()
    for row in rows_of(table.file, layout):
        if row.label == "":
            continue
        if not is_inside(row.name):
            raise ValueError(
                f"{table.file}, line {row.number}: {printable(row.name)!r:.80} leads out of {table.folder}: "
                "paths in a table are relative to the folder of the images"
            )
        file = file_of(row.name, names)
        key = printable(os.path.normpath(file if below == "." else f"{below}/{file}"))
        yield Record(key, one_line(row.label), FileAt(f"{table.folder}/{file}"), _split(table, row, file))


def _split(table: Table, row: Row, file: str) -> str | None:
    """What the table is of, or its column says, or the first folder of the path."""
    if table.split or row.split is None:
        folder, below, _ = file.partition("/")
        return table.split or (ROLES.get(folder.casefold()) if below else None)
    if (split := ROLES.get(row.split.casefold())) is None:
        raise ValueError(f"{table.file}, line {row.number}: {row.split!r:.80} is no split: write train, val or test")
    return split
