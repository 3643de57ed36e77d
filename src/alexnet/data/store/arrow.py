"""Finds where the columns of an Arrow IPC file are, without mapping the file and without reading its images.

pyarrow reads a record batch whole, or maps the file. The system ends a process (SIGBUS) that touches a mapped file that
was truncated or whose disk fails; with `pread` the same is an ordinary error. Positions are in the file's flatbuffers.
Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format, with the tables of File.fbs, Message.fbs and
Schema.fbs.
"""

import struct
from typing import NamedTuple

import pyarrow as pa

from alexnet.files.read_at import ReadAt

MAGIC = b"ARROW1"
CONTINUATION = 0xFFFFFFFF
RECORD_BATCH = 3
"""Number of the table RecordBatch in the union MessageHeader."""
MAX_METADATA = 1 << 20
"""Bytes; ours take a few hundred."""


class Buffer(NamedTuple):
    """A buffer of a column: its position in the file and its length, in bytes."""

    position: int
    length: int


class RecordBatch(NamedTuple):
    """A record batch: its number of rows, and its buffers, column after column."""

    rows: int
    buffers: list[Buffer]


def read_layout(file: ReadAt) -> tuple[pa.Schema, list[RecordBatch]]:
    """The schema and the record batches of an Arrow file. Every buffer is within the file.

    Raises ValueError, with the reason as its text, where it is not such a file, is damaged or compressed, or has
    missing values; OSError and EOFError as `ReadAt.read`.
    """
    length = file.length
    if length < 32 or file.read(0, 8)[:6] != MAGIC:
        raise ValueError("it is not an Arrow file")
    size, magic = struct.unpack("<i6s", file.read(length - 10, 10))
    if magic != MAGIC or not 0 < size <= length - 18:
        raise ValueError("it has no Arrow footer")
    schema = _schema(file.read(8, min(MAX_METADATA, length - 8)))
    try:
        footer = _Table.root(file.read(length - 10 - size, size))
        return schema, [_batch(file, *block) for block in footer.structs(3, "<qi4xq")]
    except struct.error as error:
        raise ValueError(f"it is damaged: {error}") from None


def _schema(data: bytes) -> pa.Schema:
    try:
        return pa.ipc.read_schema(pa.py_buffer(data))
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(f"it is damaged: {' '.join(str(error).split())}") from None


def _batch(file: ReadAt, start: int, metadata: int, body: int) -> RecordBatch:
    """The record batch at byte `start`, with so many bytes of `metadata` and `body`, as the footer says."""
    if start < 8 or not 8 < metadata <= MAX_METADATA or body < 0 or start + metadata + body > file.length:
        raise ValueError("it is damaged: a record batch is outside the file")
    data = file.read(start, metadata)
    mark, size = struct.unpack_from("<Ii", data)
    message = _Table.root(data[8:])
    if mark != CONTINUATION or size > metadata - 8 or message.number(1, "<B") != RECORD_BATCH:
        raise ValueError("it is damaged: a block is not a record batch")
    batch = message.table(2)
    rows = batch.number(0, "<q")
    if batch.has(3):
        raise ValueError("it is compressed")
    for count, nulls in batch.structs(1, "<qq"):
        if count != rows or nulls:
            raise ValueError("it has missing values")
    buffers = batch.structs(2, "<qq")
    if any(offset < 0 or length < 0 or offset + length > body for offset, length in buffers):
        raise ValueError("it is damaged: a column is outside its record batch")
    return RecordBatch(rows, [Buffer(start + metadata + offset, length) for offset, length in buffers])


class _Table(NamedTuple):
    """A table of a flatbuffer (https://flatbuffers.dev/internals). Whatever points outside raises struct.error."""

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        return self._field(field) is not None

    def number(self, field: int, form: str) -> int:
        """A number; all that are read here default to 0."""
        position = self._field(field)
        return 0 if position is None else struct.unpack_from(form, self.data, position)[0]

    def table(self, field: int) -> "_Table":
        return _Table(self.data, self._target(field))

    def structs(self, field: int, form: str) -> list[tuple[int, ...]]:
        """A vector of structs."""
        position, size = self._target(field), struct.calcsize(form)
        (count,) = struct.unpack_from("<I", self.data, position)
        if count * size > len(self.data):
            raise struct.error("a list is longer than what it is part of")
        return [struct.unpack_from(form, self.data, position + 4 + i * size) for i in range(count)]

    def _target(self, field: int) -> int:
        """What a field that holds an offset points to."""
        position = self._field(field)
        if position is None:
            raise struct.error("a field is missing")
        return position + struct.unpack_from("<I", self.data, position)[0]

    def _field(self, field: int) -> int | None:
        """The position of a field; None where it is left out and has its default."""
        vtable = self.position - struct.unpack_from("<i", self.data, self.position)[0]
        if not 0 <= vtable < len(self.data):
            raise struct.error("a table is outside the data")
        (size,) = struct.unpack_from("<H", self.data, vtable)
        entry = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, vtable + entry)[0] if entry < size else 0
        return self.position + offset if offset else None
