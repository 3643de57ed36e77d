"""Parquet files as the Hugging Face hub ships ImageNet.

`train-00000-of-00294.parquet` and so on, with `validation-*` beside them: a column `image` of structs of the
encoded bytes and a file name, a column `label` of numbers whose names stand in the schema. `test-*` is left
out where its labels are -1, as they are for ImageNet. The hub names ImageNet's classes by their words, in the
order of the wnids.
"""

import json
import re
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.data.classes import Class, ilsvrc2012, known_name
from alexnet.data.sources.source import LabelledImage, ParquetAt, Source, Split, held_out_count, printable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow.parquet as pq

ROWS_AT_ONCE = 16
"""Images held in memory while reading; row groups of hand-made files may hold gigabytes."""


def find_parquet(path: Path) -> dict[str, list[Path]]:
    """The files of each split ("train", "validation", "test") in `path` or in `path/data`; {} for none."""
    for folder in (path, path / "data"):
        found: dict[str, list[Path]] = {}
        for file in sorted(folder.glob("*.parquet")):
            if match := re.fullmatch(r"(train|validation|valid|val|test)([-_.].*)?\.parquet", file.name):
                found.setdefault(match[1], []).append(file)
        if found:
            return found
    return {}


def open_parquet(path: Path, files: dict[str, list[Path]], val_fraction: float | None = None, seed: int = 0) -> Source:
    """The splits that `find_parquet` found; `val_fraction` must be given where none of them is validation."""
    if "train" not in files:
        raise ValueError(f"{path} holds {files[min(files)][0].name} but no train-*.parquet: put these there too")
    for shards in files.values():
        _check_shards(shards)
    columns = _find_columns(files["train"][0])
    names = columns.names or _distinct(files["train"], columns.label)
    if len(names) < 2 or len(set(names)) < len(names):
        found = f"{len(names)} labels with {len(set(names))} different names"
        raise ValueError(f"{files['train'][0]} has {found}: at least two classes are needed, each of its own name")
    classes = _classes(names)
    wnids = [each.wnid for each in classes]
    order = sorted(range(len(names)), key=lambda index: wnids[index])
    label_of = {(names[index] if columns.names is None else index): label for label, index in enumerate(order)}
    train = _File(files["train"], columns, label_of)
    validation = next(
        (files[n] for n in ("validation", "valid", "val", "test") if n in files and _labelled(files[n], columns)),
        None,
    )
    if validation is not None:
        splits = {"train": train.split(), "val": _File(validation, columns, label_of).split()}
    elif val_fraction is None:
        raise ValueError(
            f"{path} holds no validation-*.parquet: put them there, or say what fraction of train to hold out"
        )
    elif val_fraction == 0:
        splits = {"train": train.split()}
    else:
        splits = {
            "train": train.split(val_fraction, seed, False),
            "val": train.split(val_fraction, seed, True),
        }
    return Source("parquet", path, tuple(classes[index] for index in order), splits)


@dataclass(frozen=True)
class _Columns:
    image: str  # the column of the encoded bytes ("image.bytes")
    name: str | None  # the column of the file names ("image.path")
    label: str
    names: list[str] | None  # of the labels 0, 1, ..., where the schema has them


@dataclass(frozen=True)
class _File:
    """The shards of one split."""

    shards: list[Path]
    columns: _Columns
    label_of: dict[Any, int]

    def split(self, fraction: float = 0.0, seed: int = 0, held_out: bool = False) -> Split:
        if fraction == 0:
            return Split(lambda: (image for _, image in self.images()), lambda: sum(map(_rows, self.shards)))

        def images() -> Iterator[LabelledImage]:
            held = self.held_out(fraction, seed)
            return (image for row, image in self.images() if bool(held[row]) == held_out)

        return Split(images, lambda: int((self.held_out(fraction, seed) == held_out).sum()))

    def images(self) -> Iterator[tuple[int, LabelledImage]]:
        """Every image with its row, counted over all shards."""
        total = 0
        wanted = [self.columns.label] + ([self.columns.name] if self.columns.name else [])
        for shard in self.shards:
            row = 0
            for batch in _batches(shard, wanted, 4096):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                labels = _values(shard, columns[self.columns.label])
                names = [None] * len(labels)
                if self.columns.name:
                    struct, _, field = self.columns.name.partition(".")
                    names = _values(shard, columns[struct].field(field))
                for label, name in zip(labels, names, strict=True):
                    if label not in self.label_of:
                        raise ValueError(
                            f"{shard}, row {row}: label {label} is none of the {len(self.label_of)} classes"
                        )
                    key = f"{shard.name}/{row}" + (f"/{printable(name)}" if name else "")
                    yield (
                        total,
                        LabelledImage(key, self.label_of[label], ParquetAt(str(shard), self.columns.image, row)),
                    )
                    row, total = row + 1, total + 1

    def held_out(self, fraction: float, seed: int) -> "np.ndarray":
        """Bool [rows of all shards]: which rows go to validation, drawn anew for each class."""
        import numpy as np

        labels = np.fromiter((image.label for _, image in self.images()), dtype=np.int32)
        held = np.zeros(len(labels), dtype=bool)
        for label in range(len(self.label_of)):
            rows = np.flatnonzero(labels == label)
            drawn = np.random.default_rng([seed, label]).permutation(rows)
            held[drawn[: held_out_count(len(rows), fraction)]] = True
        return held


def read_row(location: ParquetAt) -> bytes:
    """The encoded bytes of one image. Rows asked for in rising order are read in one pass."""
    reader: _Reader | None = getattr(_readers, "reader", None)
    if reader is None or not reader.has_before_it(location):
        reader = _readers.reader = _Reader(location)
    data = reader.row(location.row)
    if data is None:
        raise ValueError("the row holds no image")
    return data


_readers = threading.local()


class _Reader:
    """A pass through one column of the row group that has the row asked for first, a few rows in memory."""

    def __init__(self, location: ParquetAt) -> None:
        self.path, self.column, row = location
        with _open(Path(self.path)) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        ends = list(accumulate(sizes))
        group = bisect_right(ends, row)
        if group == len(ends):
            raise ValueError(f"{self.path} has no row {row}")
        self.batches = _batches(Path(self.path), [self.column], ROWS_AT_ONCE, [group])
        self.first, self.end = ends[group] - sizes[group], ends[group]
        self.rows: Sequence[Any] = []

    def has_before_it(self, location: ParquetAt) -> bool:
        """Whether the row can still be reached by going on."""
        return location[:2] == (self.path, self.column) and self.first <= location.row < self.end

    def row(self, row: int) -> bytes | None:
        while row >= self.first + len(self.rows):
            self.first += len(self.rows)
            column = next(self.batches).column(0)
            for field in self.column.split(".")[1:]:
                column = column.field(field)
            self.rows = column
        return self.rows[row - self.first].as_py()


def _open(path: Path) -> "pq.ParquetFile":
    """A Parquet file read page by page: no row group is ever in memory as a whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file system's, not the reader's
            raise
        raise ValueError(f"{path} is no whole Parquet file ({_line(error)}): download it again") from error


def _batches(path: Path, columns: list[str], size: int, groups: list[int] | None = None) -> Iterator[Any]:
    import pyarrow as pa

    damage = (pa.ArrowException, OSError)  # looked up now: at the end of the process the module is empty
    with _open(path) as file:
        try:
            yield from file.iter_batches(size, row_groups=groups, columns=columns, use_threads=False)
        except damage as error:
            raise ValueError(f"{path} is damaged ({_line(error)}): download it again") from error


def _values(path: Path, column: Any) -> list[Any]:
    """A column as Python's values; ValueError for text that is none."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): download it again") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _rows(path: Path) -> int:
    with _open(path) as file:
        return file.metadata.num_rows


def _find_columns(path: Path) -> _Columns:
    """The columns of images and labels by the hub's description in the schema, else `image` and `label`."""
    import pyarrow as pa

    with _open(path) as file:
        schema = file.schema_arrow
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        kinds = {name: feature.get("_type") for name, feature in described.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} has a description that cannot be read ({error}): download it again") from None
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
        raise ValueError(f"{path}: the column {image!r} has no field 'bytes', so that the images are not in the file")
    return _Columns(f"{image}.bytes", f"{image}.path" if "path" in fields else None, label, names)


def _classes(names: list[str]) -> list[Class]:
    """The classes of the labels 0, 1, ...; the 1000 of ILSVRC-2012, known by their words, get their wnids."""
    table = ilsvrc2012()
    if len(names) == len(table):
        first = [str(name).split(",")[0].strip().casefold() for name in names]
        same = sum(a == b.split(",")[0].casefold() for a, b in zip(first, table.values(), strict=True))
        if same >= 0.9 * len(table):  # lists differ in a few names, such as those of the two cranes
            return [Class(wnid, name) for wnid, name in table.items()]
    return [Class(printable(str(name)), known_name(str(name))) for name in names]


def _distinct(shards: list[Path], label: str) -> list[Any]:
    """All labels there are, sorted: the classes where the schema has no names for them."""
    import pyarrow as pa

    found: set[Any] = set()
    for shard in shards:
        for batch in _batches(shard, [label], 1 << 16):
            try:
                found.update(_values(shard, batch.column(0).unique()))
            except (pa.ArrowNotImplementedError, TypeError):  # lists, for example
                kind = batch.column(0).type
                raise ValueError(f"{shard}: the labels are of the type {kind}, neither numbers nor words") from None
    return sorted(found - {None, -1})


def _labelled(shards: list[Path], columns: _Columns) -> bool:
    first = next(_batches(shards[0], [columns.label], 1), None)
    return first is not None and first.column(0)[0].as_py() not in (None, -1)


def _check_shards(shards: list[Path]) -> None:
    """Names end in -00007-of-00294: all must be there."""
    for shard in shards:
        if (match := re.search(r"-of-0*(\d+)$", shard.stem)) and int(match[1]) != len(shards):
            raise ValueError(
                f"{shard.parent} has {len(shards)} of the {match[1]} files that {shard.name} belongs to: "
                "download the rest"
            )
