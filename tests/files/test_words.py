"""Numbers in sentences."""

import pytest

from alexnet.files.words import counted


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 classes"), (1, "1 class"), (1.0, "1 class"), (1234, "1,234 classes"), (2.5, "2.5 classes")],
)
def test_a_noun_agrees_with_its_number(number: float, words: str) -> None:
    assert counted(number, "class", "classes") == words


def test_most_nouns_take_an_s() -> None:
    assert [counted(number, "image") for number in (1, 2)] == ["1 image", "2 images"]
