"""From images to a trained network and a look inside it, through the command line, at small size."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet import load
from alexnet.cli import main
from alexnet.data.store.reader import Store
from alexnet.demo.synthetic import CLASSES, draw_set

SIZE, CROP, TRAIN, VAL, BATCH = 72, 64, 72, 24, 12
SMALL = f"--network.input-size {CROP} --network.width 0.05 --batch-size {BATCH} --workers 1 --device cpu"
Streams = pytest.CaptureFixture[str]


def alexnet(*words: object, capture: Any) -> dict[str, Any]:
    """Run `alexnet WORDS --json`, which must succeed; returns its one object."""
    capture.readouterr()
    assert main([*map(str, words), "--json"]) == 0, capture.readouterr().err
    return json.loads(capture.readouterr().out)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    draw_set(folder, train=TRAIN, val=VAL, workers=1)
    (folder / "train" / CLASSES[0] / "not-an-image.jpg").write_text("these are words")
    return folder


@pytest.fixture(scope="module")
def store(images: Path) -> Path:
    path = images.parent / "store"
    line = ["prepare", str(images), str(path), "--size", str(SIZE), "--workers", "1", "--max-bad", "0.1"]
    assert main(line) == 0
    return path


@pytest.fixture(scope="module")
def run(store: Path) -> Path:
    path = store.parent / "run"
    assert main(["train", str(store), str(path), *SMALL.split(), "--epochs", "2", "--seed", "7"]) == 0
    return path


def test_images_become_a_store_and_bad_ones_are_listed(store: Path, images: Path, capsys: Streams) -> None:
    summary = alexnet("prepare", images, store, "--size", SIZE, "--workers", 1, "--max-bad", 0.1, capture=capsys)
    assert summary["splits"]["train"] == {"images": TRAIN, "skipped": 1}
    assert summary["splits"]["val"] == {"images": VAL, "skipped": 0}
    assert summary["classes"] == len(CLASSES)
    assert tuple(c.wnid for c in Store(store).classes) == CLASSES
    assert "not-an-image.jpg" in json.dumps(Store(store).info["skipped"])


def test_a_run_has_its_record_and_resumes(run: Path, store: Path, tmp_path: Path, capsys: Streams) -> None:
    steps = TRAIN // BATCH
    lines = metrics(run)
    assert [line["step"] for line in lines if "learning_rate" in line] == list(range(1, 2 * steps + 1))
    assert [line["epoch"] for line in lines if "evaluation" in line] == [1, 2]
    assert len(json.loads((run / "classes.json").read_text())) == len(CLASSES)

    more = tmp_path / "run"
    shutil.copytree(run, more)
    result = alexnet("train", store, more, "--epochs", 3, capture=capsys)
    assert result["steps"] == 3 * steps
    config = json.loads((more / "config.json").read_text())
    assert (config["epochs"], config["seed"], config["batch_size"]) == (3, 7, BATCH)
    assert metrics(more)[: len(lines)] == lines
    assert [line["step"] for line in metrics(more) if "learning_rate" in line] == list(range(1, 3 * steps + 1))


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    run: Path, store: Path, tmp_path: Path
) -> None:
    for epochs in ("1", "2"):
        line = ["train", str(store), str(tmp_path / "run"), *SMALL.split(), "--seed", "7", "--epochs", epochs]
        assert main(line) == 0
    once, twice = load(run, "cpu", "last"), load(tmp_path / "run", "cpu", "last")
    for name, value in once.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), twice.state_dict()[name].numpy(), err_msg=name)


def test_a_run_is_not_resumed_with_other_settings(run: Path, store: Path, capsys: Streams) -> None:
    assert main(["train", str(store), str(run), "--seed", "8"]) == 2
    assert str(run) in capsys.readouterr().err


@pytest.mark.parametrize("views", [1, 10])
def test_errors_are_measured(views: int, run: Path, store: Path, capsys: Streams) -> None:
    result = alexnet("evaluate", run, "--data", store, "--views", views, "--device", "cpu", capture=capsys)
    assert result["images"] == VAL
    assert result["views"] == views
    assert 0 <= result["top5_error"] <= result["top1_error"] <= 1
    assert [member["run"] for member in result["members"]] == [str(run)]
    assert result["members"][0]["top1_error"] == result["top1_error"]
    assert sum(row["images"] for row in result["per_class"]) == VAL


def test_the_ensemble_of_a_run_with_itself_has_its_errors(run: Path, store: Path, capsys: Streams) -> None:
    alone = alexnet("evaluate", run, "--data", store, "--views", 1, capture=capsys)
    both = alexnet("evaluate", run, run, "--data", store, "--views", 1, "--weights", 1, 3, capture=capsys)
    assert len(both["members"]) == 2
    assert both["top5_error"] == pytest.approx(alone["top5_error"])
    assert (both["per_class"], both["confusions"]) == (alone["per_class"], alone["confusions"])


def test_members_of_an_ensemble_may_be_different_networks(
    run: Path, store: Path, tmp_path: Path, capsys: Streams
) -> None:
    """Another form, another input size, and weights from the first."""
    settings = SMALL.replace(f"--network.input-size {CROP}", "--network.input-size 70").split()
    other, finetuned = tmp_path / "other", tmp_path / "finetuned"
    alexnet("train", store, other, "--network", "torchvision", *settings, "--epochs", 1, capture=capsys)
    alexnet(
        "train", store, finetuned, *SMALL.split(), "--from", run, "--epochs", 1, "--optim.lr", 0.001, capture=capsys
    )
    result = alexnet("evaluate", run, other, finetuned, "--data", store, "--device", "cpu", capture=capsys)
    assert [member["run"] for member in result["members"]] == [str(run), str(other), str(finetuned)]
    assert result["images"] == VAL and len({member["weight"] for member in result["members"]}) == 1
    described = alexnet("describe", other, capture=capsys)
    assert described["input_size"] == 70 and described["layers"][-1]["output_shape"] == [len(CLASSES)]


def test_images_get_their_five_most_probable_labels(run: Path, images: Path, tmp_path: Path, capsys: Streams) -> None:
    files = sorted((images / "val").rglob("*.jpg"))[:3]
    panel = tmp_path / "panel.png"
    result = alexnet("predict", run, *files, "--panel", panel, capture=capsys)
    assert [p["path"] for p in result["predictions"]] == [str(file) for file in files]
    for prediction in result["predictions"]:
        probabilities = [entry["probability"] for entry in prediction["top5"]]
        assert len(probabilities) == 5
        assert probabilities == sorted(probabilities, reverse=True)
        assert 5 / len(CLASSES) <= sum(probabilities) <= 1 + 1e-6  # no five others are more probable
        assert {entry["wnid"] for entry in prediction["top5"]} <= set(CLASSES)
    with Image.open(panel) as image:
        assert min(image.size) > 100


def test_a_stored_image_is_nearest_to_itself(run: Path, store: Path, tmp_path: Path, capsys: Streams) -> None:
    split = Store(store).split("train")
    image = tmp_path / "stored.png"
    Image.fromarray(np.asarray(split.image(5))).save(image)
    panel = tmp_path / "panel.png"
    line = ("similar", run, image, "--data", store, "--count", 3, "--panel", panel, "--device", "cpu")
    for again in ((), ("--force",)):  # the second time from the index that the first has made
        (query,) = alexnet(*line, *again, capture=capsys)["queries"]
        distances = [near["distance"] for near in query["nearest"]]
        assert len(distances) == 3
        assert distances == sorted(distances)
        assert query["nearest"][0]["key"] == split.key(5)
    assert panel.is_file()


def test_features_have_a_row_and_a_name_for_every_image(
    run: Path, store: Path, images: Path, tmp_path: Path, capsys: Streams
) -> None:
    for source, names in ((store, VAL), (images / "val", VAL)):
        out = tmp_path / "fc7.npy"
        split = ("--split", "val") if source == store else ()
        alexnet("features", run, source, out, *split, "--force", "--device", "cpu", capture=capsys)
        rows = np.load(out)
        assert rows.shape == (names, load(run).fc7.out_features)
        assert np.isfinite(rows).all()
        assert len((tmp_path / "fc7.keys.txt").read_text().splitlines()) == names


def test_figures_are_drawn(run: Path, store: Path, capsys: Streams) -> None:
    drawn = alexnet("figures", run, "--data", store, "--layer", "conv1,pool5", capture=capsys)["figures"]
    assert {"conv1_kernels", "learning_curves", "activations_conv1", "activations_pool5"} <= set(drawn)
    for file in drawn.values():
        assert Path(file).parent == run / "figures"
        with Image.open(file) as image:
            assert np.asarray(image.convert("L")).std() > 0


def test_complete_folders_verify_and_damaged_ones_do_not(
    run: Path, store: Path, tmp_path: Path, capsys: Streams
) -> None:
    for path in (run, store):
        assert alexnet("verify", path, capture=capsys)["path"] == str(path)
    for path, pattern in ((run, "weights.safetensors"), (store, "*.arrow")):
        damaged = tmp_path / path.name
        shutil.copytree(path, damaged)
        file = sorted(damaged.rglob(pattern))[0]
        content = bytearray(file.read_bytes())
        file.write_bytes(content[: len(content) // 2])
        capsys.readouterr()
        assert main(["verify", str(damaged)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert file.name in err


def test_results_are_shown_to_people_too(run: Path, store: Path, images: Path, capsys: Streams) -> None:
    image = next((images / "val" / CLASSES[3]).glob("*.jpg"))
    lines = [
        ["evaluate", run, "--data", store],
        ["predict", run, image],
        ["similar", run, image, "--data", store],
        ["figures", run],
        ["verify", run],
    ]
    for line in lines:
        assert main([str(word) for word in line]) == 0
        assert len(capsys.readouterr().out.splitlines()) > 1, line


@pytest.mark.parametrize("command", ["predict RUN BAD", "similar RUN BAD --data STORE", "features RUN BAD fc7.npy"])
def test_a_file_that_is_no_image_is_named(
    command: str, run: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Streams
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "words.jpg"
    bad.write_text("these are words")
    names = {"RUN": str(run), "BAD": str(bad), "STORE": str(store)}
    assert main([names.get(word, word) for word in command.split()]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert str(bad) in err.splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == [bad]
