"""The fuzz campaign, short."""

import json
import random
import sys

import pytest
from scripts import json_of

from campaigns.fuzz.damage import make_input
from campaigns.fuzz.formats import FORMATS
from campaigns.fuzz.odd_json import ODD_VALUES, with_odd_value


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign reads its memory from /proc")
def test_damaged_files_of_every_format_are_read_or_refused() -> None:
    found = json_of("campaigns.fuzz", "--inputs", 3000, "--workers", 2)
    assert found["inputs"] >= 3000 and found["failures"] == []
    assert found["formats"].keys() == FORMATS.keys()
    for name, counts in found["formats"].items():
        assert counts["refused"] > counts["read"] / 4, name  # the damage is noticed
        assert counts["read"] > 0, name  # and not all of it is fatal
    assert found["peak_bytes"] < found["memory_limit_bytes"]


def test_odd_values_stay_as_they_are() -> None:
    before = repr(ODD_VALUES)
    for seed in range(2000):
        rng, value = random.Random(seed), {"a": {}, "b": [[], {"c": 1}]}
        for _ in range(3):
            value = with_odd_value(value, rng)
        json.dumps(value)  # holds nothing that holds itself
    assert repr(ODD_VALUES) == before


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_seed_and_number_make_the_same_input(name: str) -> None:
    form = FORMATS[name]
    first, again = ([make_input(form, form.examples(), 0, number) for number in range(20)] for _ in range(2))
    other_seed = [make_input(form, form.examples(), 1, number) for number in range(20)]
    assert first == again != other_seed
