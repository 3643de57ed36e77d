"""One shard of a store: an Arrow IPC file of encoded pictures, written in batches and read by memory map.

Every record batch has `BATCH_ROWS` rows, the last one of what is left, so that where a row lies follows from
its number. pyarrow, DuckDB and Hugging Face `datasets` read these files too.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from alexnet.data.chunk import Row

BATCH_ROWS = 512
SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("key", pa.string())])


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
            columns = zip(*self._waiting, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
            self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
            self.rows += len(self._waiting)
            self._waiting.clear()


class Rows(NamedTuple):
    """The columns of one record batch, in the file's own memory."""

    offsets: memoryview
    """int32: where each picture begins in `images`, and where the last one ends."""
    images: memoryview
    """Bytes."""
    labels: np.ndarray
    """int32."""
    keys: pa.StringArray

    def image(self, row: int) -> memoryview:
        return self.images[self.offsets[row] : self.offsets[row + 1]]


def map_shard(file: Path, rows: int, batch_rows: int) -> list[Rows]:
    """The record batches of `file`, which they keep mapped but not open: a large store has more shards than a
    process may have open files.

    Raises ValueError, with the reason as its text, where these are not `rows` rows in batches of
    `batch_rows`.
    """
    try:
        with pa.memory_map(str(file)) as mapped, pa.ipc.open_file(mapped) as reader:
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            schema = reader.schema
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot be read ({' '.join(str(error).split())})") from None
    if schema != SCHEMA:
        raise ValueError(f"has the columns {', '.join(schema.names)} and not {', '.join(SCHEMA.names)}")
    if [batch.num_rows for batch in batches] != [min(batch_rows, rows - start) for start in range(0, rows, batch_rows)]:
        raise ValueError(f"does not hold {rows} rows in batches of {batch_rows}")
    return [_rows(batch) for batch in batches]


def checksum(file: Path) -> str:
    """SHA-256, in hexadecimal."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _rows(batch: pa.RecordBatch) -> Rows:
    image, label, key = batch.columns
    _, offsets, images = image.buffers()
    assert image.offset == 0  # a batch as it lies in the file is no slice
    return Rows(_bytes(offsets).cast("i"), _bytes(images), label.to_numpy(), key)


def _bytes(buffer: pa.Buffer | None) -> memoryview:
    return memoryview(buffer if buffer is not None else b"").cast("B")
