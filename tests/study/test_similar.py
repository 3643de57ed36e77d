"""Nearest training images."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.files.rows import RowFile
from alexnet.study import similar as study
from alexnet.study.features import activations
from alexnet.study.similar import nearest, similar
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


def test_chunks_do_not_change_what_is_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    index = RowFile(tmp_path / "rows.npy")
    points = torch.from_numpy(random.normal(size=(4, 8)).astype(np.float32))
    positions, distances = nearest(index, points, 6)
    exact = np.linalg.norm(rows[None] - points.numpy()[:, None], axis=2)
    assert np.array_equal(positions.numpy(), np.argsort(exact, axis=1)[:, :6])
    monkeypatch.setattr(study, "ROWS_AT_ONCE", 7)
    in_chunks = nearest(index, points, 6)
    assert torch.equal(in_chunks[0], positions)
    assert torch.allclose(in_chunks[1], distances)


def test_the_index_is_made_once_and_anew_when_weights_or_store_change(
    own_run: Path, write_run: Callable[..., Path], source: Path, store: Path, tmp_path: Path
) -> None:
    path = [source / "val" / "n03000684" / "n03000684_1.png"]
    first = similar(own_run, path, store, device="cpu")
    file = own_run / "index" / "train.npy"
    made = file.stat().st_ino
    assert similar(own_run, path, store, device="cpu") == first
    assert file.stat().st_ino == made

    other = write_run(tmp_path / "other", seed=3)
    (weights,) = own_run.glob("checkpoints/*/weights.safetensors")
    (others,) = other.glob("checkpoints/*/weights.safetensors")
    weights.write_bytes(others.read_bytes())
    shutil.copy(others.with_name("SHA256SUMS"), weights.with_name("SHA256SUMS"))
    changed = similar(own_run, path, store, device="cpu")
    assert changed["queries"] == similar(other, path, store, device="cpu")["queries"]
    assert changed["queries"] != first["queries"]

    smaller = tmp_path / "smaller"
    for image in sorted(source.glob("*/*/*_[01].png")):
        target = smaller / image.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(image.read_bytes())
    prepare(smaller, tmp_path / "second", size=56, workers=1)
    (query,) = similar(own_run, path, tmp_path / "second", count=100, device="cpu")["queries"]
    assert len(query["nearest"]) == 12


def test_an_index_that_was_interrupted_is_made_anew(
    own_run: Path, source: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = [source / "val" / "n03000684" / "n03000684_1.png"]
    with monkeypatch.context() as patch:
        patch.setattr(study, "BATCH_SIZE", 12)
        patch.setattr(study, "points_of", interrupt_after(2))
        with pytest.raises(KeyboardInterrupt):
            similar(own_run, path, store, device="cpu")
    again = similar(own_run, path, store, device="cpu")
    assert np.load(own_run / "index" / "train.npy").any(axis=1).all()
    assert [file.suffix for file in sorted((own_run / "index").iterdir())] == [".json", ".npy"]
    assert len(again["queries"][0]["nearest"]) == 6


def interrupt_after(calls: int) -> Callable[..., torch.Tensor]:
    """`points_of` that is interrupted at the call after so many."""
    original = study.points_of
    left = iter(range(calls))

    def points_of(*arguments: object) -> torch.Tensor:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    return points_of


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
