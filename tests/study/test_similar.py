"""Nearest training images."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from alexnet.data.store.reader import Store
from alexnet.study import similar as study
from alexnet.study.activations import activations
from alexnet.study.similar import similar
from alexnet.study.trained import load


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
    with pytest.raises(ValueError, match="count is 0"):
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
    assert result["queries"][0]["nearest"][0]["key"] in console.export_text()
    with Image.open(panel) as image:
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)  # type: ignore[index]
        assert 850 < image.width < 950
