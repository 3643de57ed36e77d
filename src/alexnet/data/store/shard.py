"""One shard of a store: an Arrow IPC file of encoded images, written in record batches and read row by row.

Each row has a checksum of its content, so that a change on the disk is an error and never another image. Every record
batch has `BATCH_ROWS` rows, except that the last one has what is left: where a row is follows from its number. pyarrow,
DuckDB and Hugging Face `datasets` read these files too.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from alexnet.data.image.pixels import address
from alexnet.data.image.rows import ROW
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
        self.digests: list[int] = []
        """64 bits of each image, to find the same one again."""
        self._pending: list[Row] = []
        self._out = open(file, "wb")  # noqa: SIM115 (closed by close or abandon)
        self._writer = pa.ipc.new_file(self._out, SCHEMA)

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows; they are written in batches of `BATCH_ROWS`. OSError as the system gives it."""
        for row in rows:
            self._pending.append(row)
            self.digests.append(int.from_bytes(hashlib.blake2b(row.image, digest_size=8).digest()))
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
    """The columns of a shard, in memory except for the images."""

    rows: np.ndarray
    """[rows] of the type `ROW`."""
    keys: np.ndarray
    """uint8: all keys in a row, in UTF-8."""
    addresses: tuple[int, int]
    """Of the first row and of the first key."""

    def encoded(self, file: ReadAt, row: int) -> bytes:
        """The encoded image.

        Raises DamagedRowError where the row does not match its checksum or is outside the file, OSError and EOFError
        as `file` does.
        """
        position, _, length, label, _, crc32 = self.rows[row].item()
        if length < 0:
            raise DamagedRowError("is outside the file")
        image = file.read(position, length)
        if row_checksum(image, label, self.key(row)) != crc32:
            raise DamagedRowError("does not match its checksum")
        return image

    def key(self, row: int) -> memoryview:
        """The key of a row, in UTF-8."""
        _, start, _, _, length, _ = self.rows[row].item()
        return self.keys.data[start : start + length]


def read_columns(file: ReadAt, rows: int, batch_rows: int) -> Columns:
    """The columns of a shard without its images: 32 bytes per row, and its key.

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
    found, keys = np.empty(rows, ROW), bytearray()
    for number, batch in enumerate(batches):
        keys += _read_batch(file, batch, found[number * batch_rows :][: batch.rows], len(keys))
    array = np.frombuffer(bytes(keys), np.uint8)
    return Columns(found, array, (address(found), address(array)))


def _read_batch(file: ReadAt, batch: RecordBatch, rows: np.ndarray, keys_before: int) -> bytes:
    """Fill `rows`, [batch.rows] of the type `ROW`, from a record batch. Returns its keys, which `keys_before` bytes of
    other keys precede."""
    if len(batch.buffers) != 10:
        raise ValueError("is damaged: its columns are not those it declares")
    # The first buffer of each column would mark missing values; there are none.
    _, offsets, images, _, labels, _, key_offsets, keys, _, checksums = batch.buffers
    rows["label"] = _numbers(file, labels, batch.rows, np.int32)
    rows["crc32"] = _numbers(file, checksums, batch.rows, np.uint32)
    start, length = _extents(_numbers(file, offsets, batch.rows + 1, np.int32), images.length)
    rows["position"], rows["length"] = images.position + start, length
    start, length = _extents(_numbers(file, key_offsets, batch.rows + 1, np.int32), keys.length)
    # A key that is outside is taken as empty: the checksum tells.
    rows["key"], rows["key_length"] = keys_before + start, np.maximum(length, 0)
    return file.read(*keys)


def _extents(offsets: np.ndarray, bytes_in_all: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and length of each value of a column, int64 [rows], from the Arrow offsets, [rows + 1]. The start is 0 and
    the length -1 where they are not within the column."""
    start, end = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    inside = (start >= 0) & (start <= end) & (end <= bytes_in_all)
    return np.where(inside, start, 0), np.where(inside, end - start, -1)


def _numbers(file: ReadAt, buffer: Buffer, count: int, dtype: type[np.int32] | type[np.uint32]) -> np.ndarray:
    """`count` numbers of four bytes."""
    if buffer.length < 4 * count:
        raise ValueError("is damaged: a column ends too early")
    return np.frombuffer(file.read(buffer.position, 4 * count), dtype)
