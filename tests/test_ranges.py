"""Ranges of numbers: what is in them, and what a function or a dataclass refuses."""

import re
from typing import Annotated, Any

import pytest

from alexnet.ranges import BatchSize, Range, check_range, checked


def test_a_bound_counts_unless_it_is_excluded():
    assert 0 in Range(0, 1) and 1 in Range(0, 1)
    assert 0 not in Range(0, 1, above=True) and 1 not in Range(0, 1, below=True)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (-1, "n is -1; it must be at least 0 and less than 1."),
        (1, "n is 1; it must be at least 0 and less than 1."),
        (float("nan"), "n is nan; it must be a finite number."),
        (float("inf"), "n is inf; it must be a finite number."),
    ],
)
def test_the_message_names_the_value_and_the_range(value, sentence):
    fraction: Any = Annotated[float, Range(0, 1, below=True)]
    for annotation, given in ((fraction, value), (tuple[fraction, ...], (0.5, value)), (fraction | None, value)):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            check_range("n", annotation, given)
    check_range("n", fraction | None, None)


def test_a_checked_function_does_nothing_with_a_number_out_of_range():
    done = []

    @checked
    def work(name: str, *, batch_size: BatchSize = 64) -> None:
        done.append((name, batch_size))

    work("a", batch_size=3)
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        work("b", batch_size=0)
    assert done == [("a", 3)]
