"""An array in a file, written and read in parts as NumPy writes and reads it."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from alexnet.files.rows import RowFile, make_rows

ROWS = np.random.default_rng(0).normal(size=(11, 3, 2)).astype(np.float32)


def test_numpy_reads_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.npy"
    make_rows(file, ROWS.shape)
    assert (np.load(file) == 0).all()
    for writer, part in ((RowFile(file), slice(5, 11)), (RowFile(file), slice(0, 5))):
        writer.write(part.start, ROWS[part].astype(np.float64))
    assert np.array_equal(np.load(file, allow_pickle=False), ROWS)


def test_what_numpy_wrote_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    rows = RowFile(tmp_path / "rows.npy")
    assert len(rows) == 11 and rows.shape == ROWS.shape
    for first, last in ((0, 11), (3, 4), (9, 20), (11, 12), (4, 4)):
        assert np.array_equal(rows.read(first, last), ROWS[first:last])


@pytest.mark.parametrize("other", [ROWS.astype(np.float64), ROWS.T, np.float32(1), np.array(["x", {}], object)])
def test_another_array_is_refused(tmp_path: Path, other: np.ndarray) -> None:
    np.save(tmp_path / "rows.npy", other)
    with pytest.raises(ValueError, match=r"rows\.npy is not an array of rows"):
        RowFile(tmp_path / "rows.npy")
    (tmp_path / "rows.npy").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"rows\.npy is not an array of rows"):
        RowFile(tmp_path / "rows.npy")


@pytest.mark.parametrize("shape", [(1 << 40, 1 << 40), (-1, 3), (12, 7)])
def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with open(tmp_path / "rows.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.write(bytes(100))
    with pytest.raises(ValueError, match=r"rows\.npy is not an array of rows"):
        RowFile(tmp_path / "rows.npy")


def test_a_truncated_file_is_an_error_and_no_signal(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", ROWS)
    rows = RowFile(tmp_path / "rows.npy")
    rows.read(0, 1)
    os.truncate(tmp_path / "rows.npy", 200)
    assert np.array_equal(rows.read(0, 2), ROWS[:2])
    with pytest.raises(ValueError, match=r"rows\.npy is truncated"):
        rows.read(8, 9)


def test_a_full_disk_is_an_error_and_no_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_rows(tmp_path / "rows.npy", ROWS.shape)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        RowFile(tmp_path / "rows.npy").write(0, ROWS)
