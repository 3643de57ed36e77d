"""A folder of images with a table of their labels: CSV, TSV, JSON lines, or Caffe's lists of `PATH LABEL`.

    labels.csv (or .tsv, .jsonl)             beside images in one folder
    metadata.csv, metadata.jsonl             as the Hugging Face hub has them, in the folder or in that of each split
    any table                                that `--labels FILE` names

Paths in a table are relative to the folder of the images, and never lead out of it.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.data.sources.names import some
from alexnet.data.sources.records import ROLES, Record, one_line, open_records
from alexnet.data.sources.source import Choices, Contents, FileAt, Source, SourceKind
from alexnet.data.sources.walk import holds_images, subfolders
from alexnet.files.json_file import parse_json
from alexnet.files.lines import read_lines
from alexnet.files.printable import printable
from alexnet.ranges import UsageError

TABLES = ("metadata.csv", "metadata.jsonl", "labels.csv", "labels.tsv", "labels.jsonl")
"""Names of tables that are detected; the first one that is there counts."""
IMAGE_COLUMNS = (
    *("file_name", "filename", "file", "filepath", "file_path", "path", "image", "image_path", "image_name", "img"),
    *("image_id", "id", "key"),
)
LABEL_COLUMNS = ("label", "class", "category", "target", "class_name", "label_name", "species", "breed", "wnid")
SPLIT_COLUMNS = ("split", "subset", "set", "partition")
"""Usual names of columns, compared without capitals; the first one that is there counts."""
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".JPG", ".JPEG", ".PNG")
"""What a table may leave away from the names of its images."""
MOST_COLUMNS, MOST_TRIED, MOST_FOLDERS = 1000, 100, 20
"""Columns of a table; rows by which it is found out where the images are; folders that are tried."""


class Table(NamedTuple):
    """A table of the images in a folder, perhaps all of one split."""

    file: Path
    folder: Path
    split: str | None = None


class Layout(NamedTuple):
    """Where a table has what."""

    image: Any
    label: Any
    """The column's name in JSON lines, else its index; as that of the image."""
    split: Any
    """None where no column says the split."""
    has_header: bool
    described: str
    """The columns, for people."""


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
            is_metadata = name.startswith("metadata") and _has_labels(path / name)
            if is_metadata or (name.startswith("labels") and (holds_images(path) or len(subfolders(path)) < 2)):
                return [Table(path / name, path)]
    found = []
    for inside, folder in subfolders(path).items():
        table = next((folder / name for name in TABLES[:2] if (folder / name).is_file()), None)
        if (split := ROLES.get(inside.casefold())) and table and _has_labels(table):
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
    layout = find_columns(table, choices)
    names = find_names(table, layout)
    if not layout.has_header and not _is_json(table.file) and not _is_list(table.file):
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


class Row(NamedTuple):
    """A row of a table, as it stands there."""

    number: int
    """Of the line, from 1."""
    name: str
    label: str
    split: str | None


def rows_of(file: Path, layout: Layout) -> Iterator[Row]:
    """The rows of a table. Raises ValueError, naming file and line, for one that cannot be understood."""
    rows = _json_rows(file) if _is_json(file) else _text_rows(file)
    for number, row in islice(rows, 1 if layout.has_header else 0, None):
        try:
            name, label = _cell(row[layout.image]), _cell(row[layout.label])
            split = None if layout.split is None else _cell(row[layout.split])
        except (LookupError, TypeError):
            raise ValueError(f"{file}, line {number}, does not have {layout.described}") from None
        if name:
            yield Row(number, name, label, split)


def find_columns(table: Table, choices: Choices) -> Layout:
    """Which columns of a table hold the images, the labels and the splits. Raises ValueError where that is unclear."""
    file = table.file
    rows = _json_rows(file) if _is_json(file) else _text_rows(file)
    first = next(rows, None)
    if first is None:
        raise ValueError(f"{file} is empty: it needs a line for each image, with its file and its label")
    _, cells = first
    if isinstance(cells, dict):
        image, label = _chosen(file, list(cells), choices)
        return Layout(image, label, _split_column(list(cells), next(_json_rows(file))[1]), False, _words(image, label))
    header = [cell.strip() for cell in cells]
    is_header = any(
        cell.casefold() in (*IMAGE_COLUMNS, *LABEL_COLUMNS) or cell in (choices.image_column, choices.label_column)
        for cell in header
    )
    if is_header and not _is_list(file):
        image, label = _chosen(file, header, choices)
        second = next(rows, (2, []))[1]
        split = _split_column(header, dict(zip(header, second, strict=False)))
        at = {name: header.index(name) for name in (image, label)}
        return Layout(at[image], at[label], split and header.index(split), True, _words(image, label))
    if len(cells) != 2:
        raise ValueError(
            f"{file} has the columns {some(map(printable, header))}, none of which is called as images or labels "
            "usually are: choose two with --image-column and --label-column"
        )
    return Layout(0, 1, None, False, "image in the first column and label in the second")


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


def _text_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of the line and the cells of each row that is not empty."""
    lines = read_lines(file)
    if _is_list(file):
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line.strip().rsplit(None, 1)
        return
    first = next(lines, "")
    # What a country's spreadsheets put between two cells.
    separator = "\t" if file.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    reader = csv.reader(_again(first, lines), delimiter=separator)
    try:
        for row in reader:
            if len(row) > MOST_COLUMNS:
                raise ValueError(f"{file}, line {reader.line_num}, has more than {MOST_COLUMNS:,} columns")
            if any(row):
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: {error}: save it as a table again") from None


def _again(first: str, lines: Iterable[str]) -> Iterator[str]:
    yield first
    yield from lines


def _json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}: each line holds one JSON object") from None
        if not isinstance(row, dict) or len(row) > MOST_COLUMNS:
            raise ValueError(f"{file}, line {number}: it is not one JSON object with the fields of an image")
        yield number, row


def _is_json(file: Path) -> bool:
    return file.suffix.lower() in (".jsonl", ".ndjson", ".json")


def _is_list(file: Path) -> bool:
    """Whether a table is a list of `PATH LABEL`."""
    return file.suffix.lower() not in (".csv", ".tsv") and not _is_json(file)


def _cell(value: Any) -> str:
    """A cell as text. TypeError for a JSON value that is no text and no whole number."""
    if isinstance(value, str):
        return value.strip()
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    raise TypeError


def _chosen(file: Path, there: list[str], choices: Choices) -> tuple[str, str]:
    """The names of the columns of the images and of the labels.

    Each is the one that is asked for; else one with a usual name; else, of two columns, the one that is left.
    """
    plain = {name.casefold(): name for name in reversed(there)}
    image, label = (
        wanted if wanted is not None else next((plain[name] for name in usual if name in plain), None)
        for wanted, usual in ((choices.image_column, IMAGE_COLUMNS), (choices.label_column, LABEL_COLUMNS))
    )
    if len(there) == 2 and image is None and label in there:
        image = there[1 - there.index(label)]
    elif len(there) == 2 and label is None and image in there:
        label = there[1 - there.index(image)]
    for what, found, wanted in (("image", image, choices.image_column), ("label", label, choices.label_column)):
        option = f"choose one with --{what}-column"
        if found is None or found not in there:
            missing = f"no column {found!r}" if found is not None else f"no column of {what}s that is called as usual"
            sentence = f"{file} has {missing} (it has {some(map(printable, there))}): {option}"
            raise (UsageError if wanted else ValueError)(sentence)
        if there.count(found) > 1:
            raise ValueError(f"{file} has two columns {printable(found)!r}: {option}, or rename one")
    assert image is not None and label is not None
    if image == label:
        raise ValueError(f"{file}: {printable(image)} cannot be images and labels: choose with --label-column")
    return image, label


def _split_column(there: list[str], first: dict[str, Any]) -> str | None:
    """The column that names splits, by its name and its first value."""
    plain = {name.casefold(): name for name in reversed(there)}
    found = next((plain[name] for name in SPLIT_COLUMNS if name in plain), None)
    is_split = found is not None and str(first.get(found, "")).strip().casefold() in ROLES
    return found if is_split else None


def _words(image: str, label: str) -> str:
    return f"image in the column {printable(image)} and label in the column {printable(label)}"


def _has_labels(file: Path) -> bool:
    """Whether the head of a table of the hub has columns of images and labels: others only have captions."""
    try:
        _, first = next(_json_rows(file) if _is_json(file) else _text_rows(file))
    except (ValueError, OSError, StopIteration):
        return False
    there = {name.strip().casefold() for name in first}
    return bool(there & set(IMAGE_COLUMNS)) and bool(there & set(LABEL_COLUMNS))
