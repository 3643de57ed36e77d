"""What the package needs: bounds that can be tested, licences that are listed."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_each_package_has_a_lower_bound_and_a_licence_in_the_list(requirement: str) -> None:
    match = re.fullmatch(r"([a-z-]+)(?:\[\w+\])?>=[0-9.]+(,<[0-9.]+)?", requirement)
    assert match, requirement
    # `make oldest` makes exact versions of the bounds; what formats the code may differ from version to version.
    assert not match[2] or requirement in PROJECT["optional-dependencies"]["dev"], requirement
    (row,) = re.findall(
        rf"^\| {match[1]}(?: \(\w+\))? \| [0-9.]+ \| (.+) \|$", (ROOT / "docs/licences.md").read_text(), re.M
    )
    assert "?" not in row
