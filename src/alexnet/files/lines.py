"""Lines of a text file of any length, a line at a time: tables of labels may have millions of rows."""

import io
from collections.abc import Iterator
from pathlib import Path

from alexnet.files.regular import check_length, open_regular
from alexnet.files.text import MARK, codec_of

LARGEST, LONGEST = 1 << 30, 1 << 16
"""Bytes of a file, and characters of a line."""


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file, as `alexnet.files.text.read_text` decodes it, each with a newline at its end.

    Raises ValueError, naming the file, where it is no text or has a line of more than `LONGEST` characters; OSError as
    `open_regular`, and for a file of more than `LARGEST` bytes.
    """
    with open_regular(path) as file:
        check_length(path, file.seek(0, io.SEEK_END), LARGEST)
        file.seek(0)
        head = file.read(4)
        file.seek(0)
        text = io.TextIOWrapper(io.BufferedReader(file), encoding=codec_of(head), newline=None)
        number = 0
        try:
            while line := text.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise ValueError(f"{path}, line {number}, has more than {LONGEST:,} characters: it is no table")
                yield line.lstrip(MARK) if number == 1 else line
        except UnicodeDecodeError:
            raise ValueError(f"{path} is neither UTF-8 nor UTF-16: save it as UTF-8") from None
