"""Parquet files of images and labels, as Hugging Face publishes them."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from alexnet.data.sources import open_source, read_bytes
from campaigns.fuzz.format import Format

MOST_ROWS = 100_000
ROWS_READ = 20


def examples() -> list[bytes]:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = [{"bytes": bytes([n]) * (20 + n), "path": f"{n}.jpg"} for n in range(9)]
    found = []
    for options in ({}, {"compression": "zstd", "row_group_size": 4}, {"compression": "none", "use_dictionary": False}):
        for metadata in (described, None):
            schema = pa.schema([("image", image), ("label", pa.int64())], metadata=metadata)
            table = pa.table([pa.array(rows, image), pa.array([n % 2 for n in range(9)], pa.int64())], schema=schema)
            file = io.BytesIO()
            pq.write_table(table, file, **options)
            found.append(file.getvalue())
    return found


def read(data: bytes, folder: Path) -> None:
    (folder / "parquet").mkdir(exist_ok=True)
    (folder / "parquet" / "train.parquet").write_bytes(data)
    for count, image in enumerate(open_source(folder / "parquet", 0.0).splits["train"]):
        assert count < MOST_ROWS
        if count < ROWS_READ:
            read_bytes(image.location)


FORMAT = Format("parquet", 6, examples, read)
