"""Arrays are read from files as they were written, or refused with the reason."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from alexnet.files.arrays import read_array


class Evil:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path("executed").write_text, ("harm",))


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.zeros(0), np.array(3, np.int8)])
def test_what_was_written_comes_back(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype and np.array_equal(found, array)
    assert type(found) is np.ndarray and found.flags.writeable


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    Path("b.npy").write_bytes(pickle.dumps(Evil()))
    np.savez("c.npz", a=np.zeros(3))
    Path("c.npz").rename("c.npy")
    for name in ("a.npy", "b.npy", "c.npy"):
        with pytest.raises(ValueError, match=r"\w"):
            read_array(Path(name))
    assert not Path("executed").exists()
    np.load("a.npy", allow_pickle=True)  # it would have worked
    assert Path("executed").exists()


def test_a_header_that_claims_too_much_allocates_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(8))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data.replace(b"(8,), }         ", b"(8888888888,), }"))
    with pytest.raises(ValueError, match=r"\w"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize("length", [0, 5, 60, 100, 150])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    np.save(tmp_path / "a.npy", np.zeros(8))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"\w"):
        read_array(tmp_path / "a.npy")


def test_a_missing_file_is_another_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "a.npy")
