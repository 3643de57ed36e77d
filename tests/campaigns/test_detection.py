"""The detection campaign with the three faults that take the least time."""

from scripts import json_of


def test_damage_to_a_store_is_noticed() -> None:
    faults = ["changed source", "flipped byte, verify", "missing shard"]
    found = json_of("campaigns.detection", "--only", *faults)
    assert found["noticed"] and [each["fault"] for each in found["faults"]] == faults
