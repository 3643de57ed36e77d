"""Numbers as the figures show them."""

import pytest

from alexnet.study.drawing import three_figures


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (0.1, "0.100"), (0.00123, "0.00123"), (0, "0.00")],
)
def test_a_number_is_shown_with_three_figures(value: float, shown: str) -> None:
    assert three_figures(value) == shown
