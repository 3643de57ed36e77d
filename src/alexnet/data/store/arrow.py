"""Where the columns of an Arrow IPC file lie in it, found without mapping the file and without reading its images.

pyarrow reads a batch whole, or maps the file; and the system ends a process (SIGBUS) that touches a map whose file was
cut short or whose disk fails. Read by `pread`, the same is an error that can be told. Positions are in the file's
flatbuffers; format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format, with the tables of
File.fbs, Message.fbs and Schema.fbs.
"""

import struct
from typing import NamedTuple

import pyarrow as pa

from alexnet.files.read_at import ReadAt

MAGIC = b"ARROW1"
CONTINUATION = 0xFFFFFFFF
RECORD_BATCH = 3
"""Number of the table RecordBatch in the union MessageHeader."""
LONGEST_METADATA = 1 << 20
"""Bytes; ours take some hundreds."""


class Span(NamedTuple):
    """A buffer: its position in the file and its length, in bytes."""

    at: int
    length: int


class Batch(NamedTuple):
    """A record batch: how many rows it has, and its buffers, column after column."""

    rows: int
    buffers: list[Span]


def read_layout(file: ReadAt) -> tuple[pa.Schema, list[Batch]]:
    """The schema and the record batches of an Arrow file.

    Every buffer lies within the file. ValueError, with the reason as its text, for what is no such file, is damaged,
    compressed, or has rows without content; OSError and EOFError as `ReadAt.read`.
    """
    length = file.length
    if length < 32 or file.read(0, 8)[:6] != MAGIC:
        raise ValueError("it is no Arrow file")
    size, magic = struct.unpack("<i6s", file.read(length - 10, 10))
    if magic != MAGIC or not 0 < size <= length - 18:
        raise ValueError("it has no Arrow footer")
    schema = _schema(file.read(8, min(LONGEST_METADATA, length - 8)))
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


def _batch(file: ReadAt, start: int, metadata: int, body: int) -> Batch:
    """The record batch whose metadata lies at `start`, as the footer says."""
    if start < 8 or not 8 < metadata <= LONGEST_METADATA or body < 0 or start + metadata + body > file.length:
        raise ValueError("it is damaged: a batch lies outside the file")
    data = file.read(start, metadata)
    mark, size = struct.unpack_from("<Ii", data)
    message = _Table.root(data[8:])
    if mark != CONTINUATION or size > metadata - 8 or message.number(1, "<B") != RECORD_BATCH:
        raise ValueError("it is damaged: a batch is none")
    batch = message.table(2)
    rows = batch.number(0, "<q")
    if batch.has(3):
        raise ValueError("it is compressed")
    for count, nulls in batch.structs(1, "<qq"):
        if count != rows or nulls:
            raise ValueError("it has rows without content")
    buffers = batch.structs(2, "<qq")
    if any(at < 0 or long < 0 or at + long > body for at, long in buffers):
        raise ValueError("it is damaged: a column lies outside its batch")
    return Batch(rows, [Span(start + metadata + at, long) for at, long in buffers])


class _Table(NamedTuple):
    """A table of a flatbuffer (https://flatbuffers.dev/internals). Whatever lies outside raises struct.error."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        return cls(data, struct.unpack_from("<I", data)[0])

    def has(self, field: int) -> bool:
        return self._field(field) is not None

    def number(self, field: int, form: str) -> int:
        """A number; the default of all that are read here is 0."""
        at = self._field(field)
        return 0 if at is None else struct.unpack_from(form, self.data, at)[0]

    def table(self, field: int) -> "_Table":
        return _Table(self.data, self._target(field))

    def structs(self, field: int, form: str) -> list[tuple[int, ...]]:
        """A vector of structs."""
        at = self._target(field)
        (count,) = struct.unpack_from("<I", self.data, at)
        if count * struct.calcsize(form) > len(self.data):
            raise struct.error("a list is longer than what it is part of")
        return [struct.unpack_from(form, self.data, at + 4 + i * struct.calcsize(form)) for i in range(count)]

    def _target(self, field: int) -> int:
        at = self._field(field)
        if at is None:
            raise struct.error("a field is missing")
        return at + struct.unpack_from("<I", self.data, at)[0]

    def _field(self, field: int) -> int | None:
        """Where the field begins; None where it has its default."""
        table = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        if not 0 <= table < len(self.data):
            raise struct.error("a table lies outside")
        (size,) = struct.unpack_from("<H", self.data, table)
        place = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, table + place)[0] if place < size else 0
        return self.at + offset if offset else None
