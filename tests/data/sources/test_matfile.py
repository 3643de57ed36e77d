"""MATLAB files: what scipy writes is read back; damaged files are refused."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from alexnet.data.sources.matfile import read_structs

RECORDS = [
    {"number": 1.0, "word": "tench, Tinca tinca", "children": [], "share": 0.25},
    {"number": 300, "word": "Löffel 匙", "children": [4, 5, 600], "share": -1},
    {"number": 2**40, "word": "", "children": [7], "share": 1e300},
]


def saved(records: list[dict[str, Any]] = RECORDS, **options: Any) -> bytes:
    array = np.zeros((len(records), 1), dtype=[(name, object) for name in records[0]])
    for row, record in enumerate(records):
        array[row, 0] = tuple(record.values())
    file = io.BytesIO()
    savemat(file, {"before": np.arange(5), "synsets": array, "after": "text"}, **options)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
def test_numbers_and_texts_come_back_as_scipy_reads_them(compressed: bool) -> None:
    data = saved(do_compression=compressed)
    found = read_structs(data, "synsets")
    assert [record["number"] for record in found] == [1, 300, 2**40]
    assert [record["share"] for record in found] == [0.25, -1, 1e300]
    assert [record["children"] for record in found] == [[], [4, 5, 600], 7]
    assert [record["word"] or "" for record in found] == ["tench, Tinca tinca", "Löffel 匙", ""]
    for ours, theirs in zip(found, loadmat(io.BytesIO(data), squeeze_me=True)["synsets"], strict=True):
        assert (ours["word"] or "") == (str(theirs["word"]) if len(theirs["word"]) else "")


def test_the_other_byte_order_is_read_too() -> None:
    little = saved([{"number": 7, "word": "ab"}])
    assert little[126:128] == b"IM"
    big = b"x" * 124 + b"\x01\x00MI"

    def element(kind: int, data: bytes) -> bytes:
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    def matrix(kind: int, name: bytes, *parts: bytes) -> bytes:
        flags = element(6, kind.to_bytes(4, "big") + bytes(4))
        shape = element(5, (1).to_bytes(4, "big") * 2)
        return element(14, flags + shape + element(1, name) + b"".join(parts))

    number = matrix(6, b"", element(9, np.array([7], ">f8").tobytes()))
    word = matrix(4, b"", element(17, "ab".encode("utf-16-be")))
    names = element(5, (8).to_bytes(4, "big")) + element(1, b"number".ljust(8, b"\0") + b"word".ljust(8, b"\0"))
    big += matrix(2, b"synsets", names, number, word)
    assert read_structs(big, "synsets") == read_structs(little, "synsets") == [{"number": 7, "word": "ab"}]


def test_anything_but_numbers_and_texts_is_skipped() -> None:
    data = saved([{"cell": np.array([{"a": 1}, "b"], object), "inner": {"x": 1}, "number": 3}])
    assert read_structs(data, "synsets") == [{"cell": None, "inner": None, "number": 3}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a MATLAB file of version 5"),
        (b"\x80\x04cposix\nsystem\n(S'true'\ntR.", "not a MATLAB file of version 5"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), "not a MATLAB file of version 5"),
        (saved()[:128], "no struct array synsets"),
        (saved()[:400], "ends beyond the end of the file"),
        (saved(do_compression=True)[:250], "ends beyond the end of the file"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_structs(data, "synsets")


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.sources.matfile.LARGEST", 1 << 20)
    bomb = zlib.compress(bytes(1 << 24))
    data = saved()[:128] + (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb
    with pytest.raises(ValueError, match="too large"):
        read_structs(data, "synsets")
