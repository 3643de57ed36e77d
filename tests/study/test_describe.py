"""Descriptions of networks, recipes and runs."""

import io
import json

import pytest
from rich.console import Console

from alexnet import AlexNet
from alexnet.cli import main
from alexnet.config import TrainConfig, save_config
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES, recipe
from alexnet.study.describe import describe, render


def test_the_paper_differs_from_itself_in_nothing():
    found = describe("paper")
    assert (found["parameters"], found["differences"], found["training"]) == (60_965_224, [], [])
    shapes = {layer["name"]: layer["output_shape"] for layer in found["layers"]}
    assert shapes["conv1"] == [96, 55, 55] and shapes["fc8"] == [1000]
    assert found["multiply_adds"] == sum(layer["multiply_adds"] for layer in found["layers"])


@pytest.mark.parametrize("name", sorted({*NETWORKS, *RECIPES}))
def test_everything_with_a_name_can_be_described(name):
    found = json.loads(json.dumps(describe(name)))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(found))
    text = console.export_text()
    assert f"{found['parameters']:,}" in text
    for layer in found["layers"]:
        assert layer["name"] in text
    for difference in found["differences"]:
        assert difference["setting"] in text and (difference["reason"] or name in RECIPES)


def test_a_run_is_described_with_reasons_for_what_it_took_over(tmp_path):
    config = recipe("small")
    save_config(config, tmp_path / "config.json")
    found = describe(str(tmp_path))
    reasons = {entry["setting"]: entry["reason"] for entry in found["differences"]}
    assert "larger weights" in reasons["initial_std"]
    trained = {entry["setting"]: entry["value"] for entry in found["training"]}
    assert trained["batch_size"] == config.batch_size != TrainConfig().batch_size
    assert found["parameters"] == sum(p.numel() for p in AlexNet(config.network).parameters())


def test_an_unknown_name_is_refused(tmp_path, capsys):
    for name, words in (("orignal", "did you mean 'original'"), (str(tmp_path), "is not a run folder")):
        assert main(["describe", name]) == 1
        assert words in capsys.readouterr().err
