"""Tables of images and labels: CSV, TSV, JSON lines, or Caffe's lists of `PATH LABEL`. Which columns hold what, and the
rows."""

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.data.sources.names import some
from alexnet.data.sources.records import ROLES
from alexnet.data.sources.source import Choices
from alexnet.files.json_file import parse_json
from alexnet.files.lines import read_lines
from alexnet.files.printable import printable
from alexnet.ranges import UsageError

IMAGE_COLUMNS = (
    *("file_name", "filename", "file", "filepath", "file_path", "path", "image", "image_path", "image_name", "img"),
    *("image_id", "id", "key"),
)
LABEL_COLUMNS = ("label", "class", "category", "target", "class_name", "label_name", "species", "breed", "wnid")
SPLIT_COLUMNS = ("split", "subset", "set", "partition")
"""Usual names of columns, compared without capitals; the first one that is there counts."""
MOST_COLUMNS = 1000


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


class Row(NamedTuple):
    """A row of a table, as it stands there."""

    number: int
    """Of the line, from 1."""
    name: str
    label: str
    split: str | None


def rows_of(file: Path, layout: Layout) -> Iterator[Row]:
    """The rows of a table. Raises ValueError, naming file and line, for one that cannot be understood."""
    rows = _json_rows(file) if is_json(file) else _text_rows(file)
    for number, row in islice(rows, 1 if layout.has_header else 0, None):
        try:
            name, label = _cell(row[layout.image]), _cell(row[layout.label])
            split = None if layout.split is None else _cell(row[layout.split])
        except (LookupError, TypeError):
            raise ValueError(f"{file}, line {number}, does not have {layout.described}") from None
        if name:
            yield Row(number, name, label, split)


def find_columns(file: Path, choices: Choices) -> Layout:
    """Which columns of a table hold the images, the labels and the splits. Raises ValueError where that is unclear."""
    rows = _json_rows(file) if is_json(file) else _text_rows(file)
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
    if is_header and not is_list(file):
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


def _text_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The number of the line and the cells of each row that is not empty."""
    lines = read_lines(file)
    if is_list(file):
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


def is_json(file: Path) -> bool:
    return file.suffix.lower() in (".jsonl", ".ndjson", ".json")


def is_list(file: Path) -> bool:
    """Whether a table is a list of `PATH LABEL`."""
    return file.suffix.lower() not in (".csv", ".tsv") and not is_json(file)


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


def has_labels(file: Path) -> bool:
    """Whether the head of a table of the hub has columns of images and labels: others only have captions."""
    try:
        _, first = next(_json_rows(file) if is_json(file) else _text_rows(file))
    except (ValueError, OSError, StopIteration):
        return False
    there = {name.strip().casefold() for name in first}
    return bool(there & set(IMAGE_COLUMNS)) and bool(there & set(LABEL_COLUMNS))
