"""Text files that people and programs of any system wrote: lists of labels, tables, names of classes."""

import codecs
from pathlib import Path

from alexnet.files.regular import read_regular

LARGEST = 1 << 23
"""Bytes of a text file. The list of ImageNet's 50,000 validation labels takes 2 million."""

MARK = "\ufeff"
"""A byte order mark as a character. A file that was saved by several programs may have more than one."""
_MARKS = (  # the longer ones first: a mark of UTF-32 begins with one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, limit: int = LARGEST) -> str:
    """The text in a file, with every end of a line as a newline.

    Raises ValueError, naming the file, where it is no text; OSError as `read_regular`.
    """
    try:
        return decode_text(read_regular(path, limit))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is neither UTF-8 nor UTF-16: save it as UTF-8") from None


def decode_text(data: bytes) -> str:
    """Bytes of UTF-8, UTF-16 or UTF-32, with or without a byte order mark, as text whose lines end in a newline.

    Raises UnicodeDecodeError.
    """
    return data.decode(codec_of(data)).lstrip(MARK).replace("\r\n", "\n").replace("\r", "\n")


def codec_of(data: bytes) -> str:
    """The codec of a text that begins with these bytes (four are enough)."""
    codec = next((codec for mark, codec in _MARKS if data.startswith(mark)), None)
    if codec is None:  # without a mark: every second byte of ASCII in UTF-16 is zero
        codec = {b"\0": "utf-16-be"}.get(data[:1]) or {b"\0": "utf-16-le"}.get(data[1:2]) or "utf-8"
    return codec
