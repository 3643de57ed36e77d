"""Tables as CSV that spreadsheets open with a double click, and that nobody's file name turns into a formula.

- UTF-8 with a byte order mark: without it Excel takes the file for the code page of its country, and garbles every
  letter with an accent. pandas, polars, DuckDB and LibreOffice skip the mark; Python's `csv` does with `utf-8-sig`.
- A text that begins with a sign of a formula, or with an apostrophe, gets an apostrophe in front: Excel and LibreOffice
  run `=cmd(...)` in any cell, quoted or not. To get the text back, take one leading apostrophe away.
- Every text is in quotes, so that a semicolon in it begins no new cell where a country's lists have semicolons.
- Lines end as RFC 4180 says, in a carriage return and a newline.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alexnet.files import durable
from alexnet.files.printable import printable

Cell = str | int | float | None
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell that is computed may begin with; the last four are their full-width forms."""
MARK = "'"


@contextmanager
def new_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Cell]], None]]:
    """A CSV file with a line of `columns`, which becomes `path` when it is whole; yields what writes a row.

    Numbers are written as they are, None as an empty cell, control characters in texts as escapes. Missing folders are
    made. After an error `path` is as it was before. Raises OSError, naming the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable.whole(path) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)

            def write(row: Sequence[Cell]) -> None:
                assert len(row) == len(columns)
                writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in row])

            writer.writerow(columns)
            yield write
    except OSError as error:
        if error.filename is None and error.errno is not None:  # the disk is full, perhaps
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def harmless(text: str) -> str:
    """A text as a cell that no spreadsheet computes: one line, and an apostrophe in front of a sign of a formula."""
    shown = printable(text)
    return MARK + shown if text.startswith((*FORMULA, MARK)) or shown.startswith(FORMULA) else shown
