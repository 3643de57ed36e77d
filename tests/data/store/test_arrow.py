"""The columns of an Arrow file are where pyarrow finds them; anything but an Arrow file is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from alexnet.data.store.arrow import read_layout
from alexnet.files.read_at import ReadAt

SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("key", pa.string())])


def batch(rows: int, seed: int) -> pa.RecordBatch:
    random = np.random.default_rng(seed)
    images = [random.bytes(int(random.integers(0, 900))) for _ in range(rows)]
    labels = random.integers(0, 1000, rows).astype(np.int32)
    keys = [f"image é {seed} {row}" for row in range(rows)]
    return pa.record_batch([pa.array(images, pa.binary()), pa.array(labels), pa.array(keys)], schema=SCHEMA)


def write(path: Path, batches: list[pa.RecordBatch], **options: object) -> Path:
    with pa.ipc.new_file(str(path), batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        for each in batches:
            out.write_batch(each)
    return path


@pytest.mark.parametrize("metadata", [None, {"origin": "elsewhere" * 200}])
def test_every_buffer_is_where_pyarrow_finds_it(tmp_path: Path, metadata: dict | None) -> None:
    batches = [batch(rows, seed).replace_schema_metadata(metadata) for seed, rows in enumerate((40, 40, 1, 0, 7))]
    file = ReadAt(write(tmp_path / "a.arrow", batches))
    schema, found = read_layout(file)
    assert schema == SCHEMA and [each.rows for each in found] == [40, 40, 1, 0, 7]
    for ours, theirs in zip(found, batches, strict=True):
        buffers = [buffer for column in theirs.columns for buffer in column.buffers()]
        assert len(ours.buffers) == len(buffers) == 8
        for position, buffer in zip(ours.buffers, buffers, strict=True):
            stored, expected = file.read(*position), b"" if buffer is None else buffer.to_pybytes()
            assert stored == expected[: len(stored)] and not any(expected[len(stored) :])  # in memory it is padded


def test_missing_values_and_compression_are_refused(tmp_path: Path) -> None:
    nulls = pa.record_batch([[b"a", None], pa.array([1, 2], pa.int32()), ["a", "b"]], schema=SCHEMA)
    for batches, options, reason in (
        ([nulls], {}, "missing values"),
        ([batch(40, 0)], {"compression": "zstd"}, "compressed"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_layout(ReadAt(write(tmp_path / "a.arrow", batches, **options)))


@pytest.mark.parametrize("content", [b"", b"ARROW1", bytes(100), b"ARROW1\0\0" + bytes(100), b"PAR1" * 20])
def test_anything_but_an_arrow_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(ValueError, match=r"it is not an Arrow file|it has no Arrow footer"):
        read_layout(ReadAt(tmp_path / "a.arrow"))


def test_a_damaged_file_is_refused_or_every_buffer_is_within_it(tmp_path: Path) -> None:
    """Changed bytes, runs of them and truncated files, most of them at the end, where the structure is."""
    path = write(tmp_path / "a.arrow", [batch(5, seed) for seed in range(3)])
    whole, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(1000):
        data = bytearray(whole)
        near_end = random.random() < 0.7
        at = int(random.integers(len(data) - 900 if near_end else 0, len(data)))
        length, fill = (1, 1, 4, 8)[random.integers(4)], bytes([(0, 255, random.integers(256))[random.integers(3)]])
        data[at : at + length] = fill * length
        path.write_bytes(data if random.random() < 0.9 else data[:at])
        file = ReadAt(path)
        try:
            _, found = read_layout(file)
        except ValueError:
            refused += 1
            continue
        for start, length in (buffer for each in found for buffer in each.buffers):
            assert 0 <= start <= start + length <= file.length
    assert 100 < refused < 800


def test_reading_beyond_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345678")
    file = ReadAt(tmp_path / "a")
    assert file.read(2, 6) == b"345678" and file.read(8, 0) == b""
    for at, length in ((2, 7), (8, 1), (100, 3)):
        with pytest.raises(EOFError, match=f"it ends before byte {at + length}"):
            file.read(at, length)
    with pytest.raises(FileNotFoundError):
        ReadAt(tmp_path / "b")
