"""Activations in one file, described, and of images resized in several ways."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.cli import main
from alexnet.files.checksums import checksum
from alexnet.model.network import AlexNet
from alexnet.study import feature_files
from alexnet.study.activations import activations
from alexnet.study.features import features
from alexnet.study.resizing import resized
from alexnet.study.trained import load
from alexnet.training import checkpoint


def read(out: Path) -> dict[str, np.ndarray]:
    """All that is in a .npz or .h5 file."""
    if out.suffix == ".npz":
        with np.load(out) as file:  # without pickles
            return dict(file)
    h5py = pytest.importorskip("h5py")
    with h5py.File(out) as file:
        texts = ("keys", "wnids")
        return {name: np.array(data.asstr()[:] if name in texts else data[:]) for name, data in file.items()}


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_all_layers_in_one_file_are_the_rows_of_one_file_each(
    run: Path, store: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_files, "BLOCK", 5000)  # several blocks, and for the larger layers a row each
    out = tmp_path / f"all{ending}"
    features(run, store, tmp_path / "rows.npy", layer="all", split="val", device="cpu", batch_size=7)
    result = features(run, store, out, layer="all", split="val", device="cpu", batch_size=7)
    net = load(run, "cpu")
    expected = [layer.name for layer in net.layers if layer.kind not in ("pad", "dropout")]
    found = read(out)
    assert {*found} == {*expected, "keys", "wnids"} and "conv1" in expected and "relu7" in expected
    for name in expected:
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name], np.load(tmp_path / f"rows.{name}.npy")), name
        assert result["files"][name] == {"path": str(out), "shape": list(found[name].shape)}
    assert found["keys"].tolist() == (tmp_path / "all.keys.txt").read_text().splitlines()
    assert found["wnids"].tolist() == (tmp_path / "all.wnids.txt").read_text().splitlines()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_hdf5_is_chunked_by_rows_and_describes_itself(run: Path, store: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    features(run, store, tmp_path / "two.h5", layer="conv1,fc8", split="val", device="cpu")
    with h5py.File(tmp_path / "two.h5") as file:
        assert file["conv1"].chunks[1:] == file["conv1"].shape[1:] and file["fc8"].chunks == (18, 6)
        about = json.loads(file.attrs["description"])
    assert about["run"] == str(run) and [layer["name"] for layer in about["layers"]] == ["conv1", "fc8"]


def test_hdf5_without_h5py_is_one_sentence(
    run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"out\.h5 needs h5py: pip install 'alexnet\[hdf5\]'"):
        features(run, store, tmp_path / "out.h5", device="cpu")
    assert not list(tmp_path.iterdir())


def test_what_a_file_holds_is_described_beside_it(run: Path, source: Path, tmp_path: Path) -> None:
    features(run, source, tmp_path / "out.npy", layer="fc7", split="val", device="cpu")
    about = json.loads((tmp_path / "out.json").read_text())
    weights = checkpoint.find(run).path / "weights.safetensors"
    assert about["weights_sha256"] == checksum(weights) and about["step"] == 6
    assert about["program"].startswith("alexnet ") and about["random_weights_seed"] is None
    assert about["layers"] == [{"name": "fc7", "shape": [18, 342], "file": "out.npy"}]
    assert about["images"] == (tmp_path / "out.keys.txt").read_text().splitlines()
    assert about["wnids"] == (tmp_path / "out.wnids.txt").read_text().splitlines()
    shown = about["preprocessing"]
    assert (shown["resize"], shown["size"], shown["crop"]) == ("crop", 56, 51)
    assert "shorter side is resized to 56 pixels and the central 51 x 51" in shown["in_words"]


def test_a_list_gives_the_order_and_a_bad_image_of_it_is_nan_or_left_out(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted((source / "val").rglob("*.png"))[:5]
    for number, image in enumerate(images):
        (tmp_path / f"{number}.png").write_bytes(image.read_bytes())
    (tmp_path / "1.png").write_bytes(b"no image")
    lines = ["3.png", "# a note", "", "1.png", str(images[4]), "0.png", "nowhere.png"]
    (tmp_path / "stimuli.txt").write_text("\r\n".join(lines))
    each = [features(run, image, tmp_path / f"one{i}.npy", device="cpu") for i, image in enumerate(images)]
    assert all(result["images"] == 1 for result in each)
    alone = [np.load(tmp_path / f"one{i}.npy")[0] for i in range(5)]
    for ending in (".npy", ".npz"):
        options: Any = {"device": "cpu", "batch_size": 2}
        nan = features(run, tmp_path / "stimuli.txt", tmp_path / f"nan{ending}", **options)
        skip = features(run, tmp_path / "stimuli.txt", tmp_path / f"skip{ending}", bad="skip", **options)
        rows, fewer = (
            np.load(file) if ending == ".npy" else read(file)["fc7"]
            for file in (tmp_path / f"nan{ending}", tmp_path / f"skip{ending}")
        )
        assert np.isnan(rows[[1, 4]]).all() and np.array_equal(rows[[0, 2, 3]], fewer)
        assert np.allclose(fewer, np.stack([alone[3], alone[4], alone[0]]), rtol=1e-4, atol=1e-4)
        assert nan["skipped"] == skip["skipped"] and nan["files"]["fc7"]["shape"][0] == 5
        assert [bad["key"] for bad in skip["skipped"]] == ["1.png", "nowhere.png"]
        assert skip["files"]["fc7"]["shape"][0] == 3
        assert (tmp_path / "nan.keys.txt").read_text().splitlines() == [lines[0], *lines[3:]]
        assert (tmp_path / "skip.keys.txt").read_text().splitlines() == ["3.png", str(images[4]), "0.png"]
        about = json.loads((tmp_path / "skip.json").read_text())
        assert about["bad"] == "skip" and len(about["skipped"]) == 2 and len(about["images"]) == 3
        for name in ("nan", "skip"):
            for file in tmp_path.glob(f"{name}.*"):
                file.unlink()
    assert "left out: " in capsys.readouterr().err
    (tmp_path / "stimuli.txt").write_text("# none\n")
    with pytest.raises(ValueError, match=r"stimuli\.txt names no images"):
        features(run, tmp_path / "stimuli.txt", tmp_path / "out.npy", device="cpu")


def test_names_of_strangers_are_one_line_each(run: Path, source: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    data = next(source.rglob("*.png")).read_bytes()
    for name in (b"a\nb.png", b"\xff.png"):
        (tmp_path / "images" / name.decode("utf-8", "surrogateescape")).write_bytes(data)
    features(run, tmp_path / "images", tmp_path / "out.npz", device="cpu")
    assert (tmp_path / "out.keys.txt").read_text().splitlines() == ["a\\nb.png", "\\xff.png"]
    assert read(tmp_path / "out.npz")["keys"].tolist() == ["a\\nb.png", "\\xff.png"]


def pillow(pixels: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """The part of an image in `box` in Pillow's bicubic filter, first along rows: uint8 [size, size, 3]."""
    (left, top, right, bottom), bicubic = box, Image.Resampling.BICUBIC
    narrow = Image.fromarray(pixels).resize((size, len(pixels)), bicubic, (left, 0, right, len(pixels)))
    return np.asarray(narrow.resize((size, size), bicubic, (0, top, size, bottom)))


@pytest.mark.parametrize("how", ["crop", "centre", "squash"])
@pytest.mark.parametrize("shape", [(80, 120), (120, 80), (90, 90)])
def test_each_way_to_resize_shows_what_it_says(run: Path, how: Any, shape: tuple[int, int]) -> None:
    preprocess = load(run, "cpu").preprocess
    size, crop = preprocess.size, preprocess.crop
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    side, edge = min(shape), (size - crop) // 2
    left, top = (shape[1] - side) / 2, (shape[0] - side) / 2
    box = (0, 0, shape[1], shape[0]) if how == "squash" else (left, top, left + side, top + side)
    expected = pillow(pixels, box, size if how == "crop" else crop)
    if how == "crop":
        expected = expected[edge : edge + crop, edge : edge + crop]
    found = resized(preprocess, pixels, how)
    assert np.array_equal(found[edge : edge + crop, edge : edge + crop], expected)
    view = preprocess.views(torch.from_numpy(found)[None], 1)[0, 0].permute(1, 2, 0)
    mean = preprocess.mean[edge : edge + crop, edge : edge + crop]
    assert torch.allclose(
        view + mean, torch.from_numpy(found[edge : edge + crop, edge : edge + crop]).float(), atol=1e-3
    )


def test_resizing_is_an_option_but_not_for_a_store(run: Path, source: Path, store: Path, tmp_path: Path) -> None:
    image = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8)).save(image)
    rows = []
    for how in ("crop", "centre", "squash"):
        assert main(["features", str(run), str(image), str(tmp_path / f"{how}.npy"), "--resize", how]) == 0
        rows.append(np.load(tmp_path / f"{how}.npy"))
        assert json.loads((tmp_path / f"{how}.json").read_text())["preprocessing"]["resize"] == how
    assert not np.allclose(rows[0], rows[1]) and not np.allclose(rows[1], rows[2])
    with pytest.raises(ValueError, match="is a store, whose images are cut to squares already"):
        features(run, store, tmp_path / "out.npy", resize="centre", device="cpu")


def test_the_control_network_has_the_initial_weights_of_a_seed(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((source / "val").rglob("*.png"))
    for seed in (3, 4):
        out = tmp_path / f"{seed}.npz"
        command = ["features", str(run), str(image), str(out), "--layer", "conv1,fc8", "--random-weights", str(seed)]
        assert main([*command, "--json"]) == 0
        said = capsys.readouterr()
        answer = json.loads(said.out)
        assert answer["checkpoint"] is None and f"seed {seed}, as asked" in answer["random_weights"]
        assert "RANDOM" not in said.err
        about = json.loads((tmp_path / f"{seed}.json").read_text())
        assert (about["random_weights_seed"], about["weights_sha256"], about["step"]) == (seed, None, None)
        net = load(run, "cpu")
        net.load_state_dict(AlexNet(net.network, generator=torch.Generator().manual_seed(seed)).state_dict())
        expected = activations(net, net.preprocess(image)[None], ["conv1", "fc8"])
        assert all(np.allclose(read(out)[name], expected[name], atol=1e-4) for name in expected)
    assert not np.allclose(read(tmp_path / "3.npz")["conv1"], read(tmp_path / "4.npz")["conv1"])


def test_a_checkpoint_is_chosen_by_its_step(own_run: Path, source: Path, tmp_path: Path) -> None:
    last = checkpoint.find(own_run, "last")
    weights = {name: 2 * value for name, value in last.weights().items()}
    state: Any = last.state() | {"step": 9}
    checkpoint.save(own_run, 9, weights, last.velocity(), state)
    image = next((source / "val").rglob("*.png"))
    rows = {}
    for which in ("6", "9", "best", "last"):
        features(own_run, image, tmp_path / f"{which}.npy", layer="conv1", checkpoint=which, device="cpu")
        rows[which] = np.load(tmp_path / f"{which}.npy")
    assert np.array_equal(rows["6"], rows["best"]) and np.array_equal(rows["9"], rows["last"])
    assert np.allclose(rows["9"], 2 * rows["6"], atol=1e-3) and not np.allclose(rows["9"], rows["6"])
    with pytest.raises(ValueError, match="has no checkpoint of step 7; its checkpoints are of step 6 and 9"):
        features(own_run, image, tmp_path / "out.npy", checkpoint="7", device="cpu")
    with pytest.raises(ValueError, match="no checkpoint 'first'; give best, last, or a step"):
        features(own_run, image, tmp_path / "out.npy", checkpoint="first", device="cpu")


def test_layers_after_the_last_one_that_is_wanted_are_not_computed(run: Path) -> None:
    net = load(run, "cpu")
    seen: list[str] = []
    for name in ("conv2", "conv3"):
        net.get_submodule(name).register_forward_hook(lambda module, *_: seen.append(str(module.in_channels)))
    activations(net, torch.zeros(1, 3, 51, 51), ["conv2", "relu1"])
    assert len(seen) == 1
