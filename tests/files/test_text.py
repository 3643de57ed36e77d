"""Text is read whatever system wrote it."""

from pathlib import Path

import pytest

from alexnet.files.text import read_text

TEXT = "ImageId,Label\nbée_1,n01440764\n匙,n02102040\n"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_encodings_and_ends_of_lines_do_not_matter(tmp_path: Path, codec: str, end: str) -> None:
    (tmp_path / "file.csv").write_bytes(TEXT.replace("\n", end).encode(codec))
    assert read_text(tmp_path / "file.csv") == TEXT


def test_an_empty_file_is_an_empty_text(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_text(tmp_path / "file") == ""


@pytest.mark.parametrize("data", [b"caf\xe9\n", b"\xff\xfea", bytes(range(128, 200))])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match="file is neither UTF-8 nor UTF-16: save it as UTF-8"):
        read_text(tmp_path / "file")


def test_a_text_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(11))
    with pytest.raises(OSError, match="it has 11 bytes, and at most 10 are read"):
        read_text(tmp_path / "file", 10)
