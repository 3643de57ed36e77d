"""The numbers of the page are those of the commands, and of arithmetic that shares nothing with the page's."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explore_site import Site, check_alike
from small_runs import SMALL
from torch import nn

from alexnet.explore.runs import Run
from alexnet.model.fields import fields_of
from alexnet.model.layers import layers_of
from alexnet.model.network import AlexNet
from alexnet.networks import NETWORKS
from alexnet.study.features import features
from alexnet.study.predict import predict

RUNS = ("paper", "original")


def image_of(folder: Path, number: int = 3) -> Path:
    """The file of image `val-NUMBER` of the store."""
    return folder / f"images/val/n{number // 2:08d}/{number % 2}.png"


def test_labels_are_those_of_predict(site: Site, folder: Path) -> None:
    answer = site.get("predict?image=val-3&views=10")
    assert (answer["wnid"], answer["key"]) == ("n00000001", "val/n00000001/1.png")
    for run, found in zip(RUNS, answer["runs"], strict=True):
        said = predict(folder / run, [image_of(folder)], device="cpu")["predictions"][0]
        check_alike(found["top5"], said["top5"])


def test_an_image_that_is_sent_gets_the_same_labels(site: Site, folder: Path) -> None:
    name = site.send(image_of(folder).read_bytes())
    sent, stored = (site.get(f"predict?image={each}&views=10")["runs"] for each in (name, "val-3"))
    assert name.startswith("u-")
    check_alike(sent, stored)


def test_the_views_average_to_the_labels(site: Site) -> None:
    found = site.get("predict?image=val-3&views=10&run=0")["runs"][0]
    each = [{guess["wnid"]: guess["probability"] for guess in view["top5"]} for view in found["views"]]
    best = found["top5"][0]
    known = [view[best["wnid"]] for view in each if best["wnid"] in view]
    assert len(each) == 10 and len({str(view) for view in each}) > 5
    if len(known) == 10:
        assert np.isclose(np.mean(known), best["probability"], rtol=1e-5)
    centre = site.get("predict?image=val-3&views=1&run=0")["runs"][0]["top5"]
    assert found["views"][2]["top5"][0]["wnid"] == centre[0]["wnid"]


def test_maps_are_those_of_features(site: Site, folder: Path, tmp_path: Path) -> None:
    for run, name in itertools.product(range(2), ("conv1", "pool2", "relu5", "fc7")):
        out = tmp_path / f"{run}-{name}.npy"
        features(folder / RUNS[run], image_of(folder), out, layer=name, device="cpu")
        array = np.load(out)[0]
        found = np.array(site.get(f"map?image=val-3&run={run}&stage={name}&unit=2")["values"], np.float32)
        np.testing.assert_allclose(found.squeeze(), array[2], rtol=1e-6, atol=1e-6)  # see check_alike


def outputs_of(about: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """Some outputs of every stage: corners and the middle, of the first, a middle and the last unit."""
    found = []
    for layer in about["layers"]:
        channels, height, width = (*layer["shape"], 1, 1)[:3]
        for unit, (y, x) in itertools.product(
            (0, channels // 2, channels - 1), ((0, 0), (height - 1, width - 1), (height // 2, width // 3))
        ):
            found.append((layer["name"], unit, y, x))
    return found


@pytest.mark.parametrize("run", range(2), ids=RUNS)
def test_the_arithmetic_of_an_output_gives_what_the_network_computed(site: Site, run: int) -> None:
    about = site.get("about")["runs"][run]
    kinds = set()
    for name, unit, y, x in outputs_of(about):
        found = site.get(f"arithmetic?image=val-3&run={run}&stage={name}&unit={unit}&y={y}&x={x}")
        kinds.add(found["kind"])
        unit_of_error = max(1.0, abs(found["value"]))
        assert abs(found["total"] - found["value"]) < 2e-4 * unit_of_error, (name, unit, y, x)
        if found["kind"] == "conv":
            shown = sum(each["sum"] for each in found["inputs"]) + found["rest"]["sum"] + found["bias"]
            assert np.isclose(shown, found["total"])
            first = found["inputs"][0]
            products = np.array(first["patch"], float) * np.array(first["kernel"])
            assert np.isclose(np.nansum(products), first["sum"])
    assert kinds >= {"conv", "activation", "norm", "pool", "fc", "dropout"}
    assert ("spatial norm" in kinds, "pad" in kinds) == (run == 1, run == 1)


@pytest.mark.parametrize("name", ["paper", "original", "torchvision", "non-overlapping"])
def test_an_output_depends_on_exactly_its_receptive_field(name: str) -> None:
    """Found by gradients, in a network with positive weights and averages in place of maxima: nothing cancels."""
    config = dataclasses.replace(NETWORKS[name].config, classes=3, width=1 / 48, input_size=127, dropout=0.0)
    net = AlexNet(config).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.01)
    layers = [layer for layer in layers_of(config) if len(layer.outputs) == 3]
    outputs: dict[str, torch.Tensor] = {}
    for layer in layers:
        if layer.kind == "pool":
            setattr(net, layer.name, nn.AvgPool2d(layer.kernel_size, layer.stride, ceil_mode=config.pool_ceil_mode))
        net.get_submodule(layer.name).register_forward_hook(lambda _, __, y, key=layer.name: outputs.update({key: y}))
    x = torch.rand(1, 3, 127, 127, dtype=torch.float64, requires_grad=True)
    net(x)
    fields = fields_of(layers_of(config))
    for layer in layers:
        side = layer.outputs[1]
        for row, column in ((0, 0), (side // 2, side // 3)):
            out = outputs[layer.name][0, 0, row, column]
            gradient = torch.autograd.grad(out, x, retain_graph=True)[0][0].abs().sum(0)
            rows, columns = (torch.nonzero(gradient.sum(axis)).flatten().tolist() for axis in (1, 0))
            found = (rows[0], columns[0], rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])
            assert found == fields[layer.name].box(row, column, 127), layer.name


def test_the_page_knows_the_network(site: Site, folder: Path) -> None:
    about = site.get("about")
    assert [run["name"] for run in about["runs"]] == list(RUNS)
    assert about["store"]["splits"] == {"train": 35, "val": 14}
    assert [layer["name"] for layer in about["runs"][0]["layers"]] == [layer.name for layer in layers_of(SMALL)]
    assert about["runs"][0]["checkpoint"] == Run(0, folder / "paper", "cpu").net.checkpoint.name
