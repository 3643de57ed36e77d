"""One shard of a store: an Arrow IPC file of encoded images, written in batches and read a row at a time.

Each row carries a checksum of its content, so that a change on the disk is an error and never another image.
Every record batch has `BATCH_ROWS` rows, the last one of what is left, so that where a row lies follows from
its number. pyarrow, DuckDB and Hugging Face `datasets` read these files too.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from alexnet.data.store.arrow import Batch, Span, read_layout
from alexnet.files.checksums import checksum
from alexnet.files.read_at import ReadAt

BATCH_ROWS = 512
UNCHECKED = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("key", pa.string())])
"""The columns in stores of version 1."""
SCHEMA = UNCHECKED.append(pa.field("crc32", pa.uint32()))
"""`crc32` is that of `image`, then the four bytes of `label` (the low one first), then `key` in UTF-8."""


class Row(NamedTuple):
    """A row of the store."""

    image: bytes
    label: int
    key: str


class ShardInfo(TypedDict):
    """A shard as `store.json` describes it; `bytes` is the length of the file."""

    file: str
    split: str
    rows: int
    bytes: int
    sha256: str


class Shard:
    """A shard being written."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, 0
        self._waiting: list[Row] = []
        self._out = open(file, "wb")  # noqa: SIM115 (closed by close or abandon)
        self._writer = pa.ipc.new_file(self._out, SCHEMA)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._waiting.append(row)
            self.rows += 1
            if len(self._waiting) == BATCH_ROWS:
                self._write()

    def close(self, split: str) -> ShardInfo:
        """Writes what waits, and returns only when all is on the disk."""
        self._write()
        self._writer.close()
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()
        length = self.file.stat().st_size
        return {
            "file": self.file.name,
            "split": split,
            "rows": self.rows,
            "bytes": length,
            "sha256": checksum(self.file),
        }

    def abandon(self) -> None:
        """Deletes the file."""
        self._out.close()
        self.file.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._waiting:
            images = [row.image for row in self._waiting]
            labels = np.array([row.label for row in self._waiting], np.int32)
            keys = [row.key.encode() for row in self._waiting]
            checksums = np.array([*map(row_checksum, images, labels.tolist(), keys)], np.uint32)
            columns = (_column(images), [labels], _column(keys), [checksums])
            arrays = [
                pa.Array.from_buffers(field.type, len(images), [None, *map(pa.py_buffer, column)])
                for column, field in zip(columns, SCHEMA, strict=True)
            ]
            self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
            self._waiting.clear()


def _column(texts: list[bytes]) -> list[np.ndarray | bytes]:
    """The buffers of an Arrow column of bytes: where each begins, and where the last one ends, and all of them.
    (`pyarrow.array` would first import pandas, wherever it is installed.)"""
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum([*map(len, texts)], out=ends[1:])
    return [ends, b"".join(texts)]


class UnsoundError(ValueError):
    """A row that is not as it was written; the reason is its text."""


class Rows(NamedTuple):
    """The columns of one record batch; of the images only where they are."""

    images: Span
    offsets: memoryview
    """int32: where each image begins in `images`, and where the last one ends."""
    labels: memoryview
    """int32."""
    key_offsets: memoryview
    """int32: where each key begins in `keys`, and where the last one ends."""
    keys: memoryview
    """UTF-8."""
    checksums: memoryview | None
    """uint32; None in stores of version 1."""

    def encoded(self, file: ReadAt, row: int) -> bytes:
        """The encoded image. Raises UnsoundError where the row does not have its checksum or lies nowhere,
        OSError and EOFError as `file` does."""
        start, end = self.offsets[row], self.offsets[row + 1]
        if not 0 <= start <= end <= self.images.length:
            raise UnsoundError("does not lie in the file")
        image = file.read(self.images.at + start, end - start)
        if self.checksums is not None and row_checksum(image, self.labels[row], self.key(row)) != self.checksums[row]:
            raise UnsoundError("does not have its checksum")
        return image

    def key(self, row: int) -> memoryview:
        return self.keys[self.key_offsets[row] : self.key_offsets[row + 1]]


def row_checksum(image: bytes | memoryview, label: int, key: bytes | memoryview) -> int:
    """CRC-32 of a row: some microseconds, where decoding the image takes hundreds."""
    return zlib.crc32(key, zlib.crc32(label.to_bytes(4, "little", signed=True), zlib.crc32(image)))


def read_rows(file: ReadAt, rows: int, batch_rows: int) -> list[Rows]:
    """The record batches of `file`, without the images: some twenty bytes for a row, and its key.

    Raises ValueError, with the reason as its text, where these are not `rows` rows in batches of
    `batch_rows`, OSError and EOFError as `file` does.
    """
    try:
        schema, batches = read_layout(file)
    except ValueError as error:
        raise ValueError(f"cannot be read ({error})") from None
    if schema not in (SCHEMA, UNCHECKED):
        raise ValueError(f"has the columns {', '.join(schema.names)} and not {', '.join(SCHEMA.names)}")
    if [batch.rows for batch in batches] != [min(batch_rows, rows - start) for start in range(0, rows, batch_rows)]:
        raise ValueError(f"does not hold {rows} rows in batches of {batch_rows}")
    return [_rows(file, batch, checked=schema == SCHEMA) for batch in batches]


def _rows(file: ReadAt, batch: Batch, checked: bool) -> Rows:
    if len(batch.buffers) != (10 if checked else 8):
        raise ValueError("is damaged: it has other columns than it says")
    # The first buffer of a column says which rows have no content, and all have.
    _, offsets, images, _, labels, _, key_offsets, keys, *rest = batch.buffers
    return Rows(
        images,
        _numbers(file, offsets, batch.rows + 1, "i"),
        _numbers(file, labels, batch.rows, "i"),
        _numbers(file, key_offsets, batch.rows + 1, "i"),
        memoryview(file.read(*keys)),
        _numbers(file, rest[1], batch.rows, "I") if checked else None,
    )


def _numbers(file: ReadAt, span: Span, count: int, form: Literal["i", "I"]) -> memoryview:
    """`count` numbers of four bytes."""
    if span.length < 4 * count:
        raise ValueError("is damaged: a column ends too early")
    return memoryview(file.read(span.at, 4 * count)).cast(form)
