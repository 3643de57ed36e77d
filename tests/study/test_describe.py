"""Descriptions of networks, recipes and runs."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from alexnet import AlexNet
from alexnet.cli import main
from alexnet.config import TrainConfig, save_config
from alexnet.networks import NETWORKS
from alexnet.recipes import RECIPES, recipe
from alexnet.study.describe import describe, plain, render


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
    for name, code, words in (
        ("orignal", 2, "did you mean 'original'"),
        ("alexnet", 2, "there are paper, original,"),
        (str(tmp_path), 1, "is not a run folder"),
    ):
        assert main(["describe", name]) == code
        assert words in capsys.readouterr().err


def test_neurons_stand_beside_the_papers_and_receptive_fields_are_known():
    found = describe("paper")
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert found["paper_neurons"]["conv1"] == 55 * 48 * 96 and layers["conv1"]["neurons"] == 55 * 55 * 96
    for name, count in found["paper_neurons"].items():
        assert layers[name]["neurons"] == count or name == "conv1"
    assert found["neurons"] == 659_272
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(found))
    text = console.export_text()
    assert "in the paper" in text and "290,400" in text and "253,440" in text
    assert "55 x 48 x 96" in text
    fields = {name: layers[name]["receptive_field"] for name in ("conv1", "pool1", "conv2", "conv5", "pool5", "fc6")}
    assert fields == {"conv1": 11, "pool1": 19, "conv2": 51, "conv5": 163, "pool5": 195, "fc6": 224}


def test_the_receptive_field_is_the_part_of_the_image_that_matters():
    """Changes outside of it change nothing, in a network without normalisation or padding in the way."""
    network = AlexNet("no-norm", classes=3, width=1 / 12, input_size=224).eval()
    kept: dict[str, torch.Tensor] = {}
    for name in ("conv2", "conv3", "conv5"):
        network.get_submodule(name).register_forward_hook(lambda m, i, output, name=name: kept.update({name: output}))
    image = torch.rand(1, 3, 224, 224, requires_grad=True)
    network(image)
    fields = {layer["name"]: layer["receptive_field"] for layer in describe("no-norm")["layers"]}
    for name, output in kept.items():
        middle = output.shape[-1] // 2
        (slope,) = torch.autograd.grad(output[0, :, middle, middle].sum(), image, retain_graph=True)
        touched = slope.abs().sum((0, 1)).nonzero()
        extent = (touched.max(0).values - touched.min(0).values + 1).tolist()
        assert max(extent) <= fields[name] and min(extent) > 0.7 * fields[name], name


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_number_is_lost_on_a_narrow_terminal(width):
    found = describe("paper")
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(found))
    text = console.export_text()
    for layer in found["layers"]:
        for key in ("parameters", "multiply_adds", "neurons"):
            assert not layer[key] or f"{layer[key]:,}" in text


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_name_of_a_setting_is_broken_on_a_narrow_terminal(width: int):
    found = describe("original")
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(found))
    text = console.export_text()
    assert all(entry["setting"] in text for entry in [*found["differences"], *found["training"]])


def test_the_page_of_the_papers_numbers_has_those_of_describe():
    page = Path(__file__).parents[2] / "docs" / "numbers.md"
    if not page.is_file():
        pytest.skip("docs is not beside the tests")
    text, found = page.read_text(encoding="utf-8"), describe("paper")
    assert f"{found['parameters']:,}" in text and f"{found['neurons']:,}" in text
    for layer in found["layers"]:
        assert not layer["neurons"] or f"{layer['neurons']:,}" in text, layer["name"]


def test_numbers_of_layers_are_labelled_by_layer():
    console = Console(width=240, file=io.StringIO(), record=True)
    console.print(render(describe("small")))
    console.print(render(describe("cifar")))
    text = console.export_text()
    assert "0.01 in conv1, conv2, fc6, fc7, fc8; 0.03 in conv3, conv4, conv5" in text and "0.01 in all layers" in text
    assert "64 in conv1, conv2; 32 in local3, local4" in text and "384 in conv3, conv4" in text
    assert plain((32, 37), ()) == "32, 37"
