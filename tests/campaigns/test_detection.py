"""The detection campaign with the three faults that take the least time, and the words that it looks for."""

import math
import re
from pathlib import Path

import pytest
from scripts import json_of
from torch import nn

from alexnet.config import TrainConfig
from alexnet.training import health
from campaigns.detection import FAULTS


def test_damage_to_a_store_is_noticed() -> None:
    faults = ["changed source", "flipped byte, verify", "missing shard"]
    found = json_of("campaigns.detection", "--only", *faults)
    assert found["noticed"] and [each["fault"] for each in found["faults"]] == faults


def step_in(sentence: str, fault: str) -> int:
    """The step that the campaign finds in what was said about a fault."""
    found = re.search(FAULTS[fault][1], sentence)
    assert found, sentence
    return int(found[1])


def test_the_words_about_a_divergence_are_those_of_training(tmp_path: Path) -> None:
    config, network = TrainConfig(), nn.Linear(1, 1)
    watch = health.LossWatch(config, network, tmp_path, 12)
    said = [watch.observe(math.log(config.network.classes), 0.999) for _ in range(health.STEPS_AT_CHANCE)]
    assert step_in(str(said[-1]), "network at chance") == health.STEPS_AT_CHANCE
    with pytest.raises(FloatingPointError) as stop:
        health.check_loss(math.nan, network, tmp_path, 3, 0.01)
    assert step_in(str(stop.value), "loss not a number") == 3
