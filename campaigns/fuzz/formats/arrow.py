"""Shards of a store (Arrow IPC files)."""

import io
from pathlib import Path

import pyarrow as pa

from alexnet.data.store.reader import StoreSplit
from alexnet.data.store.shard import SCHEMA, ShardInfo, row_checksum
from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.stores import SIZE, read_split, store_rows


def examples() -> list[bytes]:
    columns = [list(each) for each in zip(*store_rows(), strict=True)]
    columns.append([row_checksum(image, label, key.encode()) for image, label, key in store_rows()])
    file = io.BytesIO()
    with pa.ipc.new_file(file, SCHEMA) as out:
        for rows in (slice(0, 3), slice(3, 5)):
            arrays = [pa.array(column[rows], field.type) for column, field in zip(columns, SCHEMA, strict=True)]
            out.write_batch(pa.record_batch(arrays, schema=SCHEMA))
    return [file.getvalue()]


def read(data: bytes, folder: Path) -> None:
    (folder / "train-00000.arrow").write_bytes(data)
    shard: ShardInfo = {"file": "train-00000.arrow", "split": "train", "rows": 5, "bytes": len(data), "sha256": ""}
    read_split(StoreSplit(folder, [shard], 3, SIZE, 3))


FORMAT = Format("arrow", 8, examples, read)
