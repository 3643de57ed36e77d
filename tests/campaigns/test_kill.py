"""The kill campaign, short."""

from scripts import json_of


def test_a_training_killed_again_and_again_ends_with_the_same_bytes() -> None:
    found = json_of("campaigns.kill", "--kills", 2, "--epochs", 3)
    assert found["kills"] == 2 == len(found["record"])
    assert found["equal_trainings"] == found["trainings"] > 0
    assert found["bytes_compared"] > 1_000_000
