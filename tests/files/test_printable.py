"""Text of strangers does nothing to a terminal and hides nothing."""

import pytest

from alexnet.files.printable import printable, printable_lines


@pytest.mark.parametrize("name", ["plain.jpg", "a b/ü 漢字.jpg", "non\u00a0breaking", "क\u200cष", "👩\u200d🔬"])
def test_a_readable_name_is_not_changed(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("a\u2066b\u2069\u200e\u061c", "a\\u2066b\\u2069\\u200e\\u061c"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\u2028line", "\\u2028line"),
        ("\x9b31m", "\\x9b31m"),
        ("caf\udce9", "caf\\xe9"),  # a byte that is not UTF-8, as Python keeps it
        ("half\ud800", "half\\ud800"),
    ],
)
def test_what_would_act_on_a_terminal_is_written_out(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert shown.encode() and printable(shown) == shown


def test_lines_are_kept_where_they_are_meant() -> None:
    assert printable_lines("one\n  two\x1b[0m\n") == "one\n  two\\x1b[0m\n"
