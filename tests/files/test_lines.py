"""Lines of a text file of any length."""

import os
from pathlib import Path

import pytest

from alexnet.files import lines
from alexnet.files.lines import read_lines
from alexnet.files.text import read_text

TEXT = "caf\u00e9;1\n\u98df;2\n\nlast"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_those_of_the_whole_text(tmp_path: Path, codec: str, end: str, mark: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes((mark + TEXT).replace("\n", end).encode(codec))
    assert "".join(read_lines(file)) == TEXT == read_text(file)
    assert list(read_lines(file)) == TEXT.splitlines(keepends=True)


def test_lines_and_files_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.csv"
    file.write_text("short\n" + "x" * (lines.LONGEST - 1) + "\n")
    assert len(list(read_lines(file))) == 2
    file.write_text("short\n" + "x" * lines.LONGEST + "\n")
    with pytest.raises(ValueError, match=r"a\.csv, line 2, has more than 65,536 characters"):
        list(read_lines(file))
    with open(file, "r+b") as opened:
        opened.truncate(lines.LARGEST + 1)  # of which the disk holds nothing
    with pytest.raises(OSError, match="at most"):
        list(read_lines(file))


def test_what_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\n")
    with pytest.raises(ValueError, match="neither UTF-8 nor UTF-16: save it as UTF-8"):
        list(read_lines(tmp_path / "a.csv"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a named pipe"):
        list(read_lines(tmp_path / "pipe"))
