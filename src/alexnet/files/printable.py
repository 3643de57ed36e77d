"""Text of strangers (file names, class names, messages about them) made safe to print and to store."""

import os
from contextlib import suppress
from unicodedata import category

_ESCAPED = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories that are always escaped: control characters, surrogates, line and paragraph separators."""
_JOINERS = "\u200c\u200d"
"""Format characters that words and emoji need. All others (direction marks, zero-width spaces) are escaped."""


def printable(text: str) -> str:
    r"""Text as one line of UTF-8 that shows what it holds.

    Bytes that are not UTF-8 (as Python keeps them in file names), control characters, terminal escapes and marks that
    change the direction of writing are written out, as \xff, \n, \x1b and \u202e.
    """
    with suppress(UnicodeEncodeError):  # surrogates that stand for no byte, which are escaped below
        text = os.fsencode(text).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _is_unsafe(c) else c for c in text)


def printable_lines(text: str) -> str:
    """`printable` of each line."""
    return "\n".join(map(printable, text.split("\n")))


def _is_unsafe(character: str) -> bool:
    kind = category(character)
    return kind in _ESCAPED or (kind == "Cf" and character not in _JOINERS)
