"""Units, kernels, the map of the store, the tricks and the training, as their routes tell them."""

import dataclasses
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from explore_site import Site, check_alike, serving, wait_for
from PIL import Image
from small_runs import SMALL

from alexnet.config import NetworkConfig
from alexnet.data.augment import colour_shift
from alexnet.data.store.reader import Store
from alexnet.explore.kernels import orientation
from alexnet.explore.map_of_store import principal_axes
from alexnet.explore.switches import Switches, fits, variant
from alexnet.explore.training_view import Log, TrainingView
from alexnet.model.network import AlexNet
from alexnet.networks import NETWORKS
from alexnet.study.predict import predict
from alexnet.study.similar import similar
from alexnet.study.tiles import colourfulness
from alexnet.study.trained import load
from alexnet.training import checkpoint


@pytest.fixture(scope="module")
def indexed(folder: Path) -> Iterator[Site]:
    """A server whose store is indexed."""
    with serving([folder / "paper", folder / "original"], folder / "store", index=True) as site:
        wait_for(lambda: all(site.get(f"progress?run={run}")["index"]["state"] == "done" for run in range(2)))
        yield site


def test_neighbours_are_those_of_similar(indexed: Site, folder: Path) -> None:
    image = folder / "images/val/n00000001/1.png"
    said = similar(folder / "paper", [image], folder / "store", count=6, device="cpu")["queries"][0]["nearest"]
    found = indexed.get("similar?image=val-3&count=6")
    check_alike([{key: each[key] for key in said[0]} for each in found["nearest"]], said)
    assert [each["image"] for each in found["nearest"]] == [f"train-{each['index']}" for each in said]
    own = indexed.get("similar?image=train-4&count=1")["nearest"][0]
    assert own["image"] == "train-4" and own["distance"] < 1e-3


def test_the_images_of_a_unit_excite_it_as_much_as_is_said(indexed: Site) -> None:
    for layer, unit in (("conv1", 3), ("conv4", 11), ("fc7", 20), ("fc8", 6)):
        found = indexed.get(f"unit?layer={layer}&unit={unit}")
        assert len(found["most"]) == 9 and sum(found["histogram"]["counts"]) == 35
        for each in found["most"][:3]:
            values = np.array(indexed.get(f"map?image={each['image']}&stage={layer}&unit={unit}")["values"])
            assert np.isclose(values.max(), each["value"], rtol=1e-4, atol=1e-4)
            assert np.isclose(values[each["y"], each["x"]], each["value"], rtol=1e-4, atol=1e-4)
            place = f"stage={layer}&unit={unit}&y={each['y']}&x={each['x']}"
            assert indexed.get(f"arithmetic?image={each['image']}&{place}")["field"] == each["field"]
        values = [each["value"] for each in found["most"]]
        assert values == sorted(values, reverse=True)
        means = [each["mean"] for each in found["classes"]]
        assert means == sorted(means, reverse=True) and (found["class"]["wnid"] == "n00000006" if layer == "fc8" else 1)


def test_what_feeds_a_unit_are_its_weights(indexed: Site, folder: Path) -> None:
    net = load(folder / "paper", "cpu")
    found = indexed.get("unit?layer=conv2&unit=20")["feeds"]
    weights = net.conv2.weight[20].detach()
    norms = weights.flatten(1).norm(dim=1)
    order = [each["unit"] - 4 for each in found["inputs"]]  # the second tower sees units 4 to 7 of conv1
    assert sorted(order) == [0, 1, 2, 3] and (norms[order].diff() <= 1e-6).all()
    assert np.allclose(found["inputs"][0]["weights"], weights[order[0]], atol=1e-6)
    last = indexed.get("unit?layer=fc8&unit=2")["feeds"]
    assert last["inputs"][0]["unit"] == int(net.fc8.weight[2].abs().argmax())
    assert len(indexed.get("unit?layer=fc6&unit=2")["feeds"]["inputs"][0]["weights"]) == 1
    assert indexed.get("unit?layer=relu3&unit=0", 404)["error"].startswith("Units are those of conv1, conv2")


def test_a_dead_unit_is_called_dead(folder: Path, tmp_path: Path) -> None:
    from alexnet.explore.explorer import Explorer

    explorer = Explorer([folder / "paper"], folder / "store", "cpu")
    with torch.no_grad():
        explorer.runs[0].net.conv3.weight[5] = 0
        explorer.runs[0].net.get_parameter("conv3.bias")[5] = -1
    explorer.runs[0].path = tmp_path
    background = explorer.background(lambda: False)
    background.start()
    background.thread.join(30)
    found = [explorer.unit({"layer": "conv3", "unit": unit}) for unit in ("5", "6")]
    assert [each["dead"] for each in found] == [True, False] and found[0]["active"] == 0
    assert explorer.units({"layer": "conv3"})["dead"] >= 1


def test_a_patch_is_that_part_of_the_image(site: Site) -> None:
    whole, part = (
        np.asarray(Image.open(io.BytesIO(site.ask(f"/api/{path}")[2])))
        for path in ("image.png?image=val-2", "patch.png?image=val-2&top=10&left=20&height=30&width=5")
    )
    assert whole.shape == (72, 72, 3) and np.array_equal(part, whole[10:40, 20:25])
    assert "empty" in site.get("patch.png?image=val-2&top=99&left=0&height=5&width=5", 400)["error"]


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135, 170])
def test_orientation_is_that_of_the_stripes(angle: float) -> None:
    rows, columns = np.mgrid[:11, :11] - 5.0
    along = np.radians(angle)
    across = columns * np.sin(along) + rows * np.cos(along)  # rows count downwards
    stripes = np.cos(across * 1.1)[None, None] * np.ones((1, 3, 1, 1))
    found, clear = orientation(stripes)
    assert min(abs(found[0] - angle), 180 - abs(found[0] - angle)) < 3 and clear[0] > 0.9
    assert colourfulness(stripes)[0] < 1e-9 < 0.6 < colourfulness(stripes * np.array([1, -1, 0])[:, None, None])[0]


def test_kernels_are_those_of_the_network(site: Site, folder: Path) -> None:
    found = site.get("kernels")
    weights = load(folder / "paper", "cpu").conv1.weight.detach().numpy()
    assert len(found["kernels"]) == len(weights) and [each["tower"] for each in found["kernels"]] == 4 * [1] + 4 * [2]
    assert np.allclose([each["norm"] for each in found["kernels"]], np.sqrt((weights**2).sum((1, 2, 3))))
    pixels = np.array(found["kernels"][3]["pixels"])
    kernel = weights[3].transpose(1, 2, 0)
    clear = np.abs(kernel) > 0.02 * np.abs(kernel).max()
    assert np.array_equal((pixels > 127)[clear], (kernel > 0)[clear])


@pytest.mark.parametrize("shape", [(300, 40), (30, 200), (5, 3), (40, 1)])
def test_principal_axes_are_those_of_the_whole_decomposition(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(1).normal(size=shape) * np.linspace(3, 0.1, shape[1])
    vectors -= vectors.mean(0)
    axes, explained = principal_axes(vectors)
    _, values, right = np.linalg.svd(vectors, full_matrices=False)
    assert np.allclose(np.abs((axes * right[:2].T).sum(0)), 1, atol=1e-6)
    assert np.allclose(explained, (values**2 / (values**2).sum())[:2], atol=1e-9)


def test_the_map_shows_the_activations_in_two_dimensions(indexed: Site, folder: Path) -> None:
    found = indexed.get("store?image=train-7")
    assert len(found["points"]) == 35 and {each["label"] for each in found["points"]} == set(range(7))
    rows = np.load(folder / "paper/index/train.npy")
    centred = rows - rows.mean(0)
    values, right = np.linalg.svd(centred.astype(np.float64), full_matrices=False)[1:]
    places = np.array([[each["x"], each["y"]] for each in found["points"]])
    assert np.allclose(np.abs(places), np.abs(centred @ right[:2].T), atol=1e-3 * np.abs(places).max())
    assert np.allclose(found["explained"], (values**2 / (values**2).sum())[:2], rtol=1e-4)
    here = next(each for each in found["points"] if each["image"] == "train-7")
    assert np.allclose([found["here"]["x"], found["here"]["y"]], [here["x"], here["y"]], atol=1e-3)


def test_without_switches_the_labels_are_those_of_predict(site: Site, folder: Path) -> None:
    for run, name in enumerate(("paper", "original")):
        for views in (1, 10):
            image = folder / "images/val/n00000001/1.png"
            said = predict(folder / name, [image], views=views, device="cpu")["predictions"][0]["top5"]
            check_alike(site.get(f"tricks?image=val-3&run={run}&views={views}")["top5"], said)


def test_each_switch_changes_the_labels_or_the_maps(site: Site) -> None:
    base = site.get("tricks?image=val-3")
    drawn = {"": site.ask("/api/trick-maps.png?image=val-3")[2]}
    for switch in ("activation=tanh", "norm=0", "dropout=1", "dropout=2", "top=0&left=2", "mirrored=1",
                   "colour=0.3,0.2,-0.1", "mean=0", "views=10"):  # fmt: skip
        assert site.get(f"tricks?image=val-3&{switch}")["top5"] != base["top5"], switch
        drawn[switch] = site.ask(f"/api/trick-maps.png?image=val-3&{switch}")[2]
    assert drawn["dropout=1"] == drawn["dropout=2"] == drawn[""]  # dropout comes later
    assert len({*drawn.values()}) == 8
    tanh = site.get("tricks?image=val-3&activation=tanh")
    assert tanh["zero"] < base["zero"] and tanh["saturated"] > 0.2
    for wrong in ("activation=gelu", "norm=2", "colour=9,0,0", "colour=nan,0,0", "colour=1", "dropout=-1", "views=5"):
        assert "error" in site.get(f"tricks?image=val-3&{wrong}", 400)


def test_a_switch_is_the_network_of_that_kind_with_these_weights(site: Site, folder: Path) -> None:
    net = load(folder / "paper", "cpu")
    other = AlexNet(dataclasses.replace(net.network, activation="tanh", lrn="none")).eval()
    other.load_state_dict(net.state_dict())
    x = net.preprocess(folder / "images/val/n00000001/1.png")[None]
    with torch.inference_mode():
        expected = other(x).softmax(1)[0].topk(5).values
    found = site.get("tricks?image=val-3&activation=tanh&norm=0")["top5"]
    assert np.allclose([each["probability"] for each in found], expected, atol=1e-5)


def test_colour_noise_is_that_of_training(site: Site, folder: Path) -> None:
    found = site.get("tricks?image=val-3&colour=0.1,0,0.2")["shift"]
    store = Store(folder / "store")
    assert np.allclose(found, colour_shift(np.array([[0.1, 0, 0.2]], np.float32), store.covariance)[0])


@pytest.mark.parametrize("name", ["paper", "original", "torchvision", "four-layer"])
def test_plain_pooling_is_definition_147_where_the_weights_fit(name: str) -> None:
    network: NetworkConfig = NETWORKS[name].config
    changed = variant(network, Switches(overlapping=False))
    assert (changed.pool_size, changed.pool_stride) == (2, 2)
    if name == "original":
        assert changed.padding == NETWORKS["non-overlapping"].config.padding and fits(network, changed)


def test_curves_are_read_as_they_are_written(tmp_path: Path) -> None:
    log = Log(tmp_path / "metrics.jsonl")
    line = {"step": 1, "epoch": 0.5, "loss": 2.0, "learning_rate": 0.01}
    evaluation = {"step": 1, "epoch": 0.5, "loss": 1.0, "evaluation": "val", "top1_error": 0.5, "top5_error": 0.1}
    with open(log.path, "w") as file:
        for whole in (line, evaluation):
            text = json.dumps(whole) + "\n"
            file.write(text[:9])
            file.flush()
            log.read()
            file.write(text[9:])
        file.write("nonsense\n")
        file.flush()
        log.read()
        log.read()
    assert (log.steps, log.evaluations, log.bad) == (
        [(0.5, 2.0, 0.01, pytest.approx(np.nan, nan_ok=True))],
        [evaluation],
        1,
    )
    (tmp_path / "new").write_text(json.dumps(line | {"loss": 3.0}) + "\n")
    (tmp_path / "new").replace(log.path)
    log.read()
    assert [step[1] for step in log.steps] == [3.0] and not log.evaluations


def test_the_training_view_has_curves_drops_and_checkpoints(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "paper", tmp_path / "run"))
    lines = [
        {"step": i, "epoch": i / 1000, "loss": 2.0, "learning_rate": 0.01 if i < 3000 else 0.001} for i in range(5000)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    found = TrainingView(run).about()
    assert found["count"] == 5000 and 400 <= len(found["steps"]["loss"]) <= 500
    assert found["drops"] == [{"epoch": 2.999, "learning_rate": 0.001}] and not found["trains"]
    assert found["checkpoints"] == [{"step": 6, "epoch": 2.0, "best": True}]
    (first,) = checkpoint.checkpoints(run)
    state = first.state()
    state["step"] = state["best_step"] = 8
    checkpoint.save(run, 8, first.weights(), first.velocity(), state)
    assert [each["best"] for each in TrainingView(run).about()["checkpoints"]] == [False, True]  # each was, in its time
    strip = np.asarray(Image.open(io.BytesIO(TrainingView(run).film(6, 2))))
    assert strip.shape == (2 * 2 * 12, 2 * 12, 3) or strip.size == 8 * 12 * 12 * 3


def test_a_run_without_a_log_says_so(site: Site) -> None:
    assert "metrics.jsonl" in site.get("training", 404)["error"]
    assert "not kept" in site.get("film.png?step=77", 404)["error"]
    assert SMALL.classes == 7


def test_random_weights_are_called_random(folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "paper", tmp_path / "run"))
    with serving([run], None) as site:
        assert site.get("about")["runs"][0]["random"] is None
    net = AlexNet(SMALL, generator=torch.Generator().manual_seed(3))
    write_weights(run, net)
    with serving([run], None) as site:
        assert "random numbers" in site.get("about")["runs"][0]["random"]


def write_weights(run: Path, net: AlexNet) -> None:
    """Put the weights of a network into the run's checkpoint."""
    (found,) = checkpoint.checkpoints(run)
    state, velocity = found.state(), found.velocity()
    checkpoint.save(run, found.step, net.state_dict(), velocity, state)
