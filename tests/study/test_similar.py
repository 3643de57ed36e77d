"""Nearest training images."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from runs import state_of

from alexnet.data.store.reader import Store
from alexnet.study import similar as study
from alexnet.study.activations import activations
from alexnet.study.similar import similar
from alexnet.study.trained import load
from alexnet.training import checkpoint
from alexnet.training.run_folder import fixed_settings


def test_an_image_of_the_store_is_nearest_to_itself(own_run: Path, store: Path, tmp_path: Path) -> None:
    pool = Store(store).split("train")
    for index in (0, 17, 35):
        Image.fromarray(pool.image(index)).save(tmp_path / f"{index:02}.png")
    paths = sorted(tmp_path.glob("*.png"))
    queries = similar(own_run, paths, store, device="cpu")["queries"]
    for index, query in zip((0, 17, 35), queries, strict=True):
        first, *others = query["nearest"]
        assert first["index"] == index
        assert first["key"] == pool.key(index)
        assert first["distance"] == pytest.approx(0, abs=1e-3)
        assert all(other["distance"] > 0.01 for other in others)
        assert len(others) == 5


def test_distances_are_euclidean_between_activations_after_the_relu(own_run: Path, source: Path, store: Path) -> None:
    path = source / "val" / "n03000684" / "n03000684_1.png"
    net = load(own_run, "cpu")
    pool = Store(store).split("train")
    images = [path, *(pool.image(i) for i in range(len(pool)))]
    views = torch.stack([net.preprocess(image) for image in images])
    points = activations(net, views, ["relu7"])["relu7"].astype(np.float64)
    assert points.min() == 0
    distances = np.linalg.norm(points[1:] - points[0], axis=1)
    (query,) = similar(own_run, [path], store, count=len(pool), device="cpu")["queries"]
    assert [found["index"] for found in query["nearest"]] == np.argsort(distances).tolist()
    assert [found["distance"] for found in query["nearest"]] == pytest.approx(np.sort(distances), rel=1e-4)
    assert query["true"] == "n03000684"


def test_any_layer_can_be_compared_and_has_its_own_index(own_run: Path, source: Path, store: Path) -> None:
    path = [source / "val" / "n03000684" / "n03000684_1.png"]
    result = similar(own_run, path, store, layer="pool5", count=2, device="cpu")
    assert result["layer"] == "pool5"
    assert (own_run / "index" / "train-pool5.npy").exists()
    with pytest.raises(ValueError, match="relu7"):
        similar(own_run, path, store, layer="fc9", device="cpu")
    with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
        similar(own_run, path, store, count=0, device="cpu")


def test_results_are_json_and_can_be_read_on_a_terminal(
    own_run: Path, source: Path, store: Path, tmp_path: Path
) -> None:
    panel = tmp_path / "panel.png"
    paths = [source / "val" / "n03000684", source / "val" / "n02102040" / "n02102040_0.png"]
    result = similar(own_run, paths, store, panel=panel, device="cpu")
    assert json.loads(json.dumps(result)) == result
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(study.render(result))
    text = console.export_text()
    assert result["queries"][0]["nearest"][0]["key"] in text and "step-00000006" in text.replace("\n", "")
    with Image.open(panel) as image:
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)  # type: ignore[index]
        assert 1700 < image.width < 1900  # 6 inches at 300 dots


def test_a_run_that_cannot_be_written_needs_another_folder_for_the_index(
    own_run: Path, source: Path, store: Path, tmp_path: Path
) -> None:
    (own_run / "index").write_text("not a folder")
    path = [source / "val" / "n03000684" / "n03000684_1.png"]
    with pytest.raises(ValueError, match=r"index cannot be written .*; give another folder with --out"):
        similar(own_run, path, store, device="cpu")
    similar(own_run, path, store, out=tmp_path / "elsewhere", device="cpu")
    assert {file.name for file in (tmp_path / "elsewhere").iterdir()} == {"train.npy", "train.json"}


def test_a_damaged_image_is_a_line_and_the_others_are_searched(
    own_run: Path, source: Path, store: Path, tmp_path: Path
) -> None:
    good = source / "val" / "n03000684" / "n03000684_1.png"
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:300])
    result = similar(own_run, [bad, good], store, device="cpu")
    assert [query["path"] for query in result["queries"]] == [str(good)]
    assert [entry["path"] for entry in result["skipped"]] == [str(bad)]
    with pytest.raises(ValueError, match=r"bad\.png is not an image"):
        similar(own_run, [bad], store, device="cpu")


def test_distances_that_are_all_0_are_reported(own_run: Path, source: Path, store: Path) -> None:
    net = load(own_run, "cpu")
    for name in ("fc7.weight", "fc7.bias"):
        net.get_parameter(name).data.fill_(-1 if name.endswith("bias") else 0)
    velocity = {name: torch.zeros_like(w) for name, w in net.named_parameters()}
    checkpoint.save(own_run, 7, net.state_dict(), velocity, state_of(7, 7, settings=fixed_settings(net.config)))
    result = similar(own_run, [source / "val" / "n03000684"], store, device="cpu")
    assert len(result["warnings"]) == 1 and "all distances are 0: relu7" in result["warnings"][0]
