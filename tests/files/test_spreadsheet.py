"""Tables for spreadsheets: nothing in them is a formula, and other programs read back what was written."""

import csv
import errno
from pathlib import Path

import pandas as pd
import pyarrow.csv
import pytest

from alexnet.files.spreadsheet import harmless, new_table

TEXTS = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "'quoted",
    "\uff1dcmd()",
    "a;=b",
    'say "hi", you',
    "caf\u00e9 \u98df",
]


def written(path: Path) -> Path:
    with new_table(path, ["text", "number", "nothing"]) as write:
        for index, text in enumerate(TEXTS):
            write([text, index / 3, None])
    return path


def back(cell: str) -> str:
    """What the documentation says to do with a cell."""
    return cell.removeprefix("'")


def test_no_text_is_a_formula_and_each_comes_back(tmp_path: Path) -> None:
    with open(written(tmp_path / "new" / "table.csv"), encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["text", "number", "nothing"]
    assert [back(row[0]) for row in rows[1:]] == TEXTS
    assert not any(row[0][0] in "=+-@\t\r\uff1d" for row in rows[1:])


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("\t=1+1", "'\\t=1+1"),
        ("\r=1", "'\\r=1"),
        ("a\nb", "a\\nb"),
        ("", ""),
        ("n01440764", "n01440764"),
        ("1e5", "1e5"),
    ],
)
def test_a_cell_is_one_line_and_what_is_no_formula_stays(text: str, cell: str) -> None:
    assert harmless(text) == cell


def test_pandas_and_arrow_read_texts_numbers_and_empty_cells(tmp_path: Path) -> None:
    path = written(tmp_path / "table.csv")
    frame = pd.read_csv(path)
    assert list(frame.columns) == ["text", "number", "nothing"]
    assert [back(cell) for cell in frame["text"]] == TEXTS
    assert frame["number"].tolist() == pytest.approx([index / 3 for index in range(len(TEXTS))])
    assert not frame["nothing"].notna().to_numpy().any()
    assert [back(cell) for cell in pyarrow.csv.read_csv(path)["text"].to_pylist()] == TEXTS


def test_excel_sees_utf8_quotes_and_its_own_ends_of_lines(tmp_path: Path) -> None:
    data = written(tmp_path / "table.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n") == len(TEXTS) + 1
    assert b'"a;=b"' in data and b'"caf\xc3\xa9 ' in data


def test_a_full_disk_names_the_file_and_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises(OSError, match=r"table\.csv") as caught, new_table(path, ["a"]):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path) and path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]
