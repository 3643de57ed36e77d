"""Reading Parquet files a few rows at a time, so that no row group is ever in memory as a whole."""

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alexnet.data.sources.parquet_pages import rows_at_once
from alexnet.files.regular import open_regular

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

IMAGES_AT_ONCE = 16
"""Images in memory while reading; a row group of a hand-made file may hold gigabytes."""


MOST_DESCRIPTION, MOST_PARTS, MOST_GROUPS = 1 << 24, 1 << 20, 1 << 15
"""Of a file's description: bytes of each text, columns of all row groups together, and row groups."""


class ParquetAt(NamedTuple):
    """The image in row `row` (from 0, over the whole file) of the column `column` ("image.bytes") of a Parquet file."""

    path: str
    column: str
    row: int

    def read(self, limit: int) -> bytes:
        """The encoded bytes. Rows that are read in ascending order by one thread are read in one pass."""
        reader: _ColumnReader | None = getattr(_of_this_thread, "reader", None)
        if reader is None or not reader.can_reach(self):
            reader = _of_this_thread.reader = _ColumnReader(self)
        data = reader.row(self.row)
        if data is None:
            raise ValueError("the row holds no image")
        return data


_of_this_thread = threading.local()


class _ColumnReader:
    """A pass through one column of one row group, a few rows in memory."""

    def __init__(self, first: ParquetAt) -> None:
        self.path, self.column, row = first
        with open_file(Path(self.path)) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
        ends = list(accumulate(sizes))
        group = bisect_right(ends, row)
        if group == len(ends):
            raise ValueError(f"{self.path} has no row {row}")
        self.batches = batches(Path(self.path), [self.column], IMAGES_AT_ONCE, [group])
        self.first, self.end = ends[group] - sizes[group], ends[group]
        self.rows: Sequence[Any] = []

    def can_reach(self, location: ParquetAt) -> bool:
        """Whether the row is in this row group, and not before the rows in memory."""
        return location[:2] == (self.path, self.column) and self.first <= location.row < self.end

    def row(self, row: int) -> bytes | None:
        while row >= self.first + len(self.rows):
            self.first += len(self.rows)
            if (batch := next(self.batches, None)) is None:
                raise ValueError(f"{self.path} is damaged (it has fewer rows than it claims): download it again")
            column = batch.column(0)
            for field in self.column.split(".")[1:]:
                column = column.field(field)
            self.rows = column
        return self.rows[row - self.first].as_py()


def open_file(path: Path) -> "pq.ParquetFile":
    """A Parquet file that is read page by page.

    Raises ValueError, naming it, where it is damaged, or claims more than such a file can hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_regular(path) as regular:
        length = os.fstat(regular.fileno()).st_size
    try:
        file = pq.ParquetFile(
            path,
            buffer_size=1 << 20,
            pre_buffer=False,
            thrift_string_size_limit=MOST_DESCRIPTION,
            thrift_container_size_limit=MOST_PARTS,
        )
        found = file.metadata
        if found.num_rows > length or found.num_row_groups > MOST_GROUPS:
            file.close()
            raise ValueError(
                f"{path} claims {found.num_rows:,} rows in {found.num_row_groups:,} row groups and has {length:,} "
                "bytes: it cannot hold so many images"
            )
        return file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # from the file system, not from the reader
            raise
        raise ValueError(f"{path} is not a whole Parquet file ({_one_line(error)}): download it again") from error


def batches(path: Path, columns: list[str], size: int, groups: list[int] | None = None) -> "Iterator[pa.RecordBatch]":
    """Record batches of at most `size` rows, of all row groups or of the `groups` given.

    Raises ValueError, naming the file, where it is damaged or would take too much memory.
    """
    import pyarrow as pa

    damage = (pa.ArrowException, OSError)  # looked up now: when the process ends, the module is empty
    with open_file(path) as file:
        try:
            for group in range(file.num_row_groups) if groups is None else groups:
                rows = rows_at_once(path, group, columns, size)
                yield from file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
        except (EOFError, IndexError) as error:
            raise ValueError(f"{path} is cut off ({error}): download it again") from None
        except damage as error:
            raise ValueError(f"{path} is damaged ({_one_line(error)}): download it again") from error


def values(path: Path, column: Any) -> list[Any]:
    """A column of `path` as Python objects; ValueError for text that is not UTF-8."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): download it again") from None


def count_rows(path: Path) -> int:
    """The number of rows, from the footer. ValueError, naming the file, where it is damaged."""
    with open_file(path) as file:
        return file.metadata.num_rows


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
