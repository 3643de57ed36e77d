"""Names of files as text that can be printed and stored."""

import os
from collections.abc import Iterable
from unicodedata import category

_CONTROL = ("Cc", "Zl", "Zp")
"""Unicode categories that would break a line: control characters, line and paragraph separators."""


def printable(name: str) -> str:
    r"""A file name as one line of UTF-8: other bytes and control characters are escaped, as \xff and \n."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if category(c) in _CONTROL else c for c in text)


def some(names: Iterable[str]) -> str:
    """The first five of many names, for a message."""
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
