"""File names as text. (What is escaped is tested with the folders that have such names.)"""

import pytest

from alexnet.data.sources.names import printable


@pytest.mark.parametrize("name", ["plain.jpg", "a b/ü 漢字.jpg", "non\u00a0breaking"])
def test_a_readable_name_is_not_changed(name: str) -> None:
    assert printable(name) == name
