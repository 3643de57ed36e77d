"""Tables on terminals of any width."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from alexnet.study.tables import table

NAMES = ("West Highland white terrier", "groom, bridegroom")
NUMBERS = ("1,281,167", "40.7 % (39.8 to 41.6)", "18.2 % (17.5 to 18.9)")


@pytest.mark.parametrize("width", [10, 30, 60, 80, 200])
def test_no_number_is_lost_however_narrow_the_terminal(width: int) -> None:
    shown = table("true class", "predicted class", "images", "top-1 error", "top-5 error", texts=2)
    shown.add_row(Text(NAMES[0]), NAMES[1], *NUMBERS)
    shown.add_section()
    shown.add_row("total", "", *NUMBERS)
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(shown)
    text = console.export_text()
    if width >= 60:
        assert all(text.count(number) == 2 for number in NUMBERS), text
    whole = "".join(text.split())
    assert all(whole.count("".join(number.split())) == 2 for number in NUMBERS), text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_names_are_not_broken_in_the_middle(width: int) -> None:
    shown = table("class", "image", "distance", texts=2)
    shown.add_row("English springer", "n02102040/n02102040_1234.JPEG", "1,234")
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(shown)
    text = console.export_text()
    for word in ("English", "springer", "n02102040/n02102040_1234.JPEG", "1,234"):
        assert word in text, text
