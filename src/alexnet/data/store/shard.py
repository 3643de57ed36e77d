"""One shard of a store: an Arrow IPC file of encoded images, written in record batches and read row by row.

Each row has a checksum of its content, so that a change on the disk is an error and never another image. Every record
batch has `BATCH_ROWS` rows, except that the last one has what is left: where a row is follows from its number. pyarrow,
DuckDB and Hugging Face `datasets` read these files too.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from alexnet.data.store.arrow import Buffer, RecordBatch, read_layout
from alexnet.files.checksums import checksum
from alexnet.files.read_at import ReadAt

BATCH_ROWS = 512
SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("key", pa.string()), ("crc32", pa.uint32())])
"""`crc32` is that of `image`, then of the four bytes of `label` (lowest first), then of `key` in UTF-8."""


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


def row_checksum(image: bytes | memoryview, label: int, key: bytes | memoryview) -> int:
    """CRC-32 of a row. It takes microseconds; decoding an image takes hundreds."""
    return zlib.crc32(key, zlib.crc32(label.to_bytes(4, "little", signed=True), zlib.crc32(image)))


class Shard:
    """A shard that is being written."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, 0
        self._pending: list[Row] = []
        self._out = open(file, "wb")  # noqa: SIM115 (closed by close or abandon)
        self._writer = pa.ipc.new_file(self._out, SCHEMA)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._pending.append(row)
            self.rows += 1
            if len(self._pending) == BATCH_ROWS:
                self._write_batch()

    def close(self, split: str) -> ShardInfo:
        """Write the pending rows and return only when the whole file is on the disk."""
        self._write_batch()
        self._writer.close()
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()
        return {
            "file": self.file.name,
            "split": split,
            "rows": self.rows,
            "bytes": self.file.stat().st_size,
            "sha256": checksum(self.file),
        }

    def abandon(self) -> None:
        """Delete the file."""
        self._out.close()
        self.file.unlink(missing_ok=True)

    def _write_batch(self) -> None:
        if not self._pending:
            return
        images = [row.image for row in self._pending]
        labels = np.array([row.label for row in self._pending], np.int32)
        keys = [row.key.encode() for row in self._pending]
        checksums = np.array([*map(row_checksum, images, labels.tolist(), keys)], np.uint32)
        columns = (_column(images), [labels], _column(keys), [checksums])
        arrays = [
            pa.Array.from_buffers(field.type, len(images), [None, *map(pa.py_buffer, column)])
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
        self._pending.clear()


def _column(values: list[bytes]) -> list[np.ndarray | bytes]:
    """The buffers of an Arrow column of bytes: where each value begins and the last one ends, and all values in a row.
    (`pyarrow.array` would first import pandas, wherever it is installed.)"""
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([*map(len, values)], out=offsets[1:])
    return [offsets, b"".join(values)]


class DamagedRowError(ValueError):
    """A row is not as it was written; the text is the reason."""


class Columns(NamedTuple):
    """The columns of one record batch, in memory except for the images."""

    images: Buffer
    offsets: memoryview
    """int32: where each image begins in `images`, and where the last one ends."""
    labels: memoryview
    """int32."""
    key_offsets: memoryview
    """int32: where each key begins in `keys`, and where the last one ends."""
    keys: memoryview
    """UTF-8."""
    checksums: memoryview
    """uint32."""

    def encoded(self, file: ReadAt, row: int) -> bytes:
        """The encoded image.

        Raises DamagedRowError where the row does not match its checksum or is outside the file, OSError and EOFError
        as `file` does.
        """
        start, end = self.offsets[row], self.offsets[row + 1]
        if not 0 <= start <= end <= self.images.length:
            raise DamagedRowError("is outside the file")
        image = file.read(self.images.position + start, end - start)
        if row_checksum(image, self.labels[row], self.key(row)) != self.checksums[row]:
            raise DamagedRowError("does not match its checksum")
        return image

    def key(self, row: int) -> memoryview:
        return self.keys[self.key_offsets[row] : self.key_offsets[row + 1]]


def read_columns(file: ReadAt, rows: int, batch_rows: int) -> list[Columns]:
    """The record batches of a shard without its images: some twenty bytes per row, and its key.

    Raises ValueError, with the reason as its text, unless there are `rows` rows in batches of `batch_rows`; OSError and
    EOFError as `file` does.
    """
    try:
        schema, batches = read_layout(file)
    except ValueError as error:
        raise ValueError(f"cannot be read ({error})") from None
    if schema != SCHEMA:
        raise ValueError(f"has the columns {', '.join(schema.names)} and not {', '.join(SCHEMA.names)}")
    if [batch.rows for batch in batches] != [min(batch_rows, rows - start) for start in range(0, rows, batch_rows)]:
        raise ValueError(f"does not hold {rows} rows in batches of {batch_rows}")
    return [_columns(file, batch) for batch in batches]


def _columns(file: ReadAt, batch: RecordBatch) -> Columns:
    if len(batch.buffers) != 10:
        raise ValueError("is damaged: its columns are not those it declares")
    # The first buffer of each column would mark missing values; there are none.
    _, offsets, images, _, labels, _, key_offsets, keys, _, checksums = batch.buffers
    return Columns(
        images,
        _numbers(file, offsets, batch.rows + 1, "i"),
        _numbers(file, labels, batch.rows, "i"),
        _numbers(file, key_offsets, batch.rows + 1, "i"),
        memoryview(file.read(*keys)),
        _numbers(file, checksums, batch.rows, "I"),
    )


def _numbers(file: ReadAt, buffer: Buffer, count: int, code: Literal["i", "I"]) -> memoryview:
    """`count` numbers of four bytes, signed (`code` "i") or not."""
    if buffer.length < 4 * count:
        raise ValueError("is damaged: a column ends too early")
    return memoryview(file.read(buffer.position, 4 * count)).cast(code)
