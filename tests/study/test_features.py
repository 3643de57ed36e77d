"""Activations as arrays."""

import io
import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torchvision.models.feature_extraction import create_feature_extractor

from alexnet.data.store.reader import Store
from alexnet.study import features as study
from alexnet.study.features import features
from alexnet.study.trained import load


@pytest.mark.parametrize("layer", ["conv1", "norm1", "pool2", "relu5", "fc7", "relu7", "fc8"])
def test_a_row_is_what_a_forward_hook_on_the_layer_sees(run: Path, store: Path, tmp_path: Path, layer: str) -> None:
    result = features(run, store, tmp_path / "out.npy", layer=layer, split="val", device="cpu")
    found = np.load(tmp_path / "out.npy")
    net = load(run, "cpu")
    pool = Store(store).split("val")
    seen: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        seen.append(output)

    net.get_submodule(layer).register_forward_hook(keep)
    with torch.inference_mode():
        net(torch.stack([net.preprocess(pool.image(i)) for i in range(len(pool))]))
    assert found.dtype == np.float32
    assert np.allclose(found, seen[0].numpy(), rtol=1e-4, atol=1e-4)
    assert result["checkpoint"] == str(run / "checkpoints" / "step-00000006") and result["skipped"] == []
    assert result["files"] == {layer: {"path": str(tmp_path / "out.npy"), "shape": list(seen[0].shape)}}
    keys = (tmp_path / "out.keys.txt").read_text().splitlines()
    assert keys == [pool.key(i) for i in range(len(pool))]
    wnids = (tmp_path / "out.wnids.txt").read_text().splitlines()
    assert wnids == [Store(store).classes[label].wnid for label in pool.labels]


def test_convolutions_and_fc_layers_are_before_their_relu(run: Path, store: Path, tmp_path: Path) -> None:
    features(run, store, tmp_path / "out.npy", layer="conv5,relu5,fc7, relu7", device="cpu")
    for before, after in (("conv5", "relu5"), ("fc7", "relu7")):
        linear, rectified = (np.load(tmp_path / f"out.{name}.npy") for name in (before, after))
        assert linear.min() < 0
        assert np.array_equal(linear.clip(min=0), rectified)
    assert not (tmp_path / "out.npy").exists()


def test_torchvision_extracts_the_same_from_a_loaded_network(run: Path, source: Path, tmp_path: Path) -> None:
    path = source / "val" / "n03000684" / "n03000684_1.png"
    names = ["conv1", "norm1", "conv5", "fc7", "relu7"]
    features(run, path, tmp_path / "out.npy", layer=",".join(names), device="cpu")
    net = load(run, "cpu")
    extractor = create_feature_extractor(net, names)
    with torch.inference_mode():
        found = extractor(net.preprocess(path)[None])
    for name in names:
        assert np.allclose(found[name].numpy(), np.load(tmp_path / f"out.{name}.npy"), atol=1e-4), name


def test_store_source_folder_and_images_give_the_same_rows(
    run: Path, source: Path, store: Path, tmp_path: Path
) -> None:
    def rows(images: Path, **options: Any) -> dict[str, np.ndarray]:
        out = tmp_path / "rows.npy"
        features(run, images, out, device="cpu", batch_size=7, force=True, **options)
        keys = out.with_suffix(".keys.txt").read_text().splitlines()
        return {Path(key).name: row for key, row in zip(keys, np.load(out), strict=True)}

    everything = rows(store)
    assert len(everything) == 36  # names repeat: val comes after train
    val = rows(store, split="val")
    assert len(val) == 18
    for images, options in ((source, {"split": "val"}), (source / "val", {}), (store, {})):
        again = rows(images, **options)
        for name, row in val.items():
            assert np.allclose(again[name], row, rtol=1e-4, atol=1e-4), (images, name)
    image = source / "val" / "n01440764" / "n01440764_2.png"
    assert np.allclose(rows(image)[image.name], val[image.name], rtol=1e-4, atol=1e-4)
    loose = rows(image.parent)
    assert list(loose) == sorted(loose)
    assert np.allclose(loose[image.name], val[image.name], rtol=1e-4, atol=1e-4)
    assert not (tmp_path / "rows.wnids.txt").exists()


def test_rows_do_not_depend_on_the_batch_size(run: Path, store: Path, tmp_path: Path) -> None:
    for size in (1, 5, 64):
        features(run, store, tmp_path / f"{size}.npy", layer="pool5", device="cpu", batch_size=size)
    first, *others = (np.load(tmp_path / f"{size}.npy") for size in (1, 5, 64))
    assert first.shape[0] == 54
    assert all(np.allclose(first, other, rtol=1e-4, atol=1e-4) for other in others)


def test_mistakes_get_a_sentence_and_leave_nothing_behind(
    run: Path, source: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.npy"
    with pytest.raises(ValueError, match=r"no layer 'fc9'.* conv1, .* fc8"):
        features(run, store, out, layer="fc9", device="cpu")
    with pytest.raises(ValueError, match=r"must end in \.npy, \.npz or \.h5"):
        features(run, store, tmp_path / "out.csv", device="cpu")
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        features(run, store, out, batch_size=0, device="cpu")
    (tmp_path / "loose").mkdir()
    damaged = tmp_path / "loose" / "a.png"
    damaged.write_bytes((source / "val" / "n01440764" / "n01440764_0.png").read_bytes()[:300])
    with pytest.raises(ValueError, match=r"a\.png is not an image"):
        features(run, tmp_path / "loose", out, device="cpu")
    with pytest.raises(ValueError, match="nowhere"):
        features(run, tmp_path / "nowhere", out, device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty"):
        features(run, tmp_path / "empty", out, device="cpu")
    with pytest.raises(ValueError, match="'test'"):
        features(run, source, out, split="test", device="cpu")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 0, 100))
    with pytest.raises(ValueError, match="GB free"):
        features(run, store, out, device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "loose"]


def test_a_large_image_is_rescaled_first(run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((300, 500, 3), 200, np.uint8)).save(tmp_path / "large.bmp")
    Image.fromarray(np.full((56, 56, 3), 200, np.uint8)).save(tmp_path / "small.bmp")
    result = features(run, tmp_path, tmp_path / "out.npy", layer="conv1", device="cpu")
    large, small = np.load(tmp_path / "out.npy")
    assert np.allclose(large, small, atol=1e-3)
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(study.render(result))
    assert "conv1: float32 2 x 8 x 11 x 11" in console.export_text()


def test_an_image_that_cannot_be_read_is_a_line_and_the_others_are_done(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(source / "val" / "n01440764", tmp_path / "loose"))
    features(run, folder, tmp_path / "good.npy", device="cpu")
    (folder / "n01440764_0.png").rename(folder / "n01440764_4.png")
    (folder / "n01440764_0.png").write_bytes((folder / "n01440764_4.png").read_bytes()[:300])
    capsys.readouterr()
    result = features(run, folder, tmp_path / "out.npy", layer="fc7,pool5", device="cpu", batch_size=2)
    (bad,) = result["skipped"]
    assert bad["key"] == "n01440764_0.png" and "not an image" in bad["error"] and result["images"] == 4
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1 and "the row of n01440764_0.png is NaN: " in warnings[0]
    rows, good = np.load(tmp_path / "out.fc7.npy"), np.load(tmp_path / "good.npy")
    assert np.isnan(rows[0]).all() and np.isnan(np.load(tmp_path / "out.pool5.npy")[0]).all()
    assert np.allclose(rows[[3, 1, 2]], good, rtol=1e-4, atol=1e-4)
    assert (tmp_path / "out.keys.txt").read_text().split() == [f"n01440764_{i}.png" for i in (0, 1, 2, 4)]
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(study.render(result))
    assert "1 of them cannot be read" in console.export_text()


@pytest.mark.parametrize("there", ["out.npy", "out.keys.txt", "out.wnids.txt", "out.json"])
def test_files_that_are_there_are_not_overwritten(run: Path, store: Path, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ValueError, match=rf"{there} is there already; give another name, or --force"):
        features(run, store, tmp_path / "out.npy", device="cpu")
    assert (tmp_path / there).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    features(run, store, tmp_path / "out.npy", device="cpu", force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"out.npy", "out.keys.txt", "out.wnids.txt", "out.json"}


class Stopped(BaseException):
    """As Ctrl-C."""


def stop_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Let the computation of activations end in this batch."""
    left, real = iter(range(batches)), study.activations

    def activations(*args: Any) -> dict[str, np.ndarray]:
        if next(left, None) is None:
            raise Stopped
        return real(*args)

    monkeypatch.setattr(study, "activations", activations)


@pytest.mark.parametrize(("ending", "bad"), [(".npy", "nan"), (".npz", "skip")])
def test_an_interrupted_call_resumes_and_ends_with_the_same_bytes(
    run: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, bad: Any
) -> None:
    images = Path(shutil.copytree(source / "val", tmp_path / "images"))
    (images / "n01440764" / "n01440764_1.png").write_bytes(b"no image")
    options: dict[str, Any] = {"layer": "fc7,pool5", "device": "cpu", "batch_size": 4, "bad": bad}
    features(run, images, tmp_path / f"whole{ending}", **options)
    out, part = tmp_path / f"out{ending}", tmp_path / f"out{ending}.part"
    computed = 0
    for batches in (2, 1):
        with monkeypatch.context() as patch:
            stop_after(patch, batches)
            with pytest.raises(Stopped):
                features(run, images, out, **options)
        assert part.is_dir() and not [*tmp_path.glob("out*.json")]
        with open(part / "rows-0-18.jsonl", "a") as file:
            file.write('[["half a li')
        computed += batches
        *lines, _ = (part / "rows-0-18.jsonl").read_text().splitlines()
        assert sum(len(json.loads(line)[0]) for line in lines) == 4 * computed
    with monkeypatch.context() as patch:
        stop_after(patch, 2)  # no row is computed twice: 18 images are five batches of 4
        features(run, images, out, **options)
    names = ["json", "keys.txt", "wnids.txt", *(["fc7.npy", "pool5.npy"] if ending == ".npy" else ["npz"])]
    for name in names:
        whole, mine = ((tmp_path / f"{stem}.{name}") for stem in ("whole", "out"))
        if name == "npz":
            with np.load(whole) as a, np.load(mine) as b:
                assert {*a} == {*b} and all(np.array_equal(a[key], b[key]) for key in a)
        else:
            assert whole.exists() == mine.exists()
            assert not whole.exists() or mine.read_bytes().replace(b'"out.', b'"whole.') == whole.read_bytes()
    assert not part.exists()


def test_rows_of_other_settings_or_of_other_images_are_not_taken(
    run: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Path(shutil.copytree(source / "val" / "n01440764", tmp_path / "images"))
    out = tmp_path / "out.npy"

    def interrupt() -> None:
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(Stopped):
                features(run, images, out, device="cpu", batch_size=2)

    interrupt()
    features(run, images, out, device="cpu", batch_size=2, resize="squash")
    features(run, images, tmp_path / "squashed.npy", device="cpu", batch_size=2, resize="squash")
    assert out.read_bytes() == (tmp_path / "squashed.npy").read_bytes() and not (tmp_path / "out.npy.part").exists()
    for path in tmp_path.glob("out.*"):
        path.unlink()
    interrupt()
    (images / "n01440764_1.png").rename(images / "n01440764_9.png")
    with pytest.raises(ValueError, match=r"images has changed since .*out\.npy\.part was begun: delete that folder"):
        features(run, images, out, device="cpu", batch_size=2)
