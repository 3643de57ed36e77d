"""A source becomes a store, the same one however the work is shared."""

import json
from pathlib import Path

import numpy as np
import pytest
from preparing import content, damage
from rich.console import Console

from alexnet.data.image.decode import decode
from alexnet.data.image.encode import encode
from alexnet.data.image.resize import rescale
from alexnet.data.prepare import prepare as module
from alexnet.data.prepare.prepare import prepare
from alexnet.data.prepare.summary import render
from alexnet.data.sources import open_source, read_bytes
from alexnet.data.store.info import VERSION
from alexnet.data.store.reader import Store
from alexnet.data.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("small_shards")


def test_every_image_is_stored_in_the_order_of_the_source(source: Path, tmp_path: Path) -> None:
    summary = prepare(source, tmp_path / "store", size=16, workers=1)
    assert summary["splits"] == {
        "train": {"images": 21, "skipped": 0},
        "val": {"images": 9, "skipped": 0},
    }
    assert summary["classes"] == 3
    store, opened = Store(tmp_path / "store"), open_source(source)
    assert store.classes == opened.classes
    for name, split in opened.splits.items():
        stored = store.split(name)
        for index, (key, label, location) in enumerate(split):
            assert (stored.key(index), stored.labels[index]) == (key, label)
            assert bytes(stored.encoded(index)) == encode(rescale(decode(read_bytes(location)), 16))
    verify_store(tmp_path / "store")
    assert sorted(content(tmp_path / "store")) == [
        "covariance.npy",
        "mean.npy",
        "store.json",
        *(f"train-{number:05}.arrow" for number in range(4)),
        *(f"val-{number:05}.arrow" for number in range(2)),
    ]
    assert sorted(tmp_path.iterdir()) == [source, tmp_path / "store"]


def test_mean_and_covariance_are_of_the_training_images_alone(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=16, workers=1)
    store = Store(tmp_path / "store")
    images = np.stack([store.split("train").image(index) for index in range(21)]).astype(np.float64)
    assert np.array_equal(store.mean, images.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(store.covariance, np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-12)


def test_mean_and_covariance_are_of_the_rescaled_images_before_jpeg(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=130, workers=1, quality=50)
    store, opened = Store(tmp_path / "store"), open_source(source)
    images = np.stack([rescale(decode(read_bytes(each.location)), 130) for each in opened.splits["train"]])
    assert np.array_equal(store.mean, images.astype(np.float64).mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(store.covariance, np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-12)
    verify_store(tmp_path / "store")


@pytest.mark.parametrize("size", [16, 130])
def test_the_store_does_not_depend_on_the_number_or_kind_of_workers(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    damage(source)
    for name, workers, processes_from in (("alone", 1, 0), ("threads", 2, 99), ("processes", 2, 0)):
        monkeypatch.setattr(module, "MIN_IMAGES_FOR_PROCESSES", processes_from)
        prepare(source, tmp_path / name, size=size, workers=workers, max_bad=0.2)
        assert content(tmp_path / name) == content(tmp_path / "alone")


def test_the_store_is_the_same_without_a_compiler(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for compiled in ("", "off"):
        monkeypatch.setenv("ALEXNET_KERNELS", compiled)
        prepare(source, tmp_path / f"store {compiled}", size=130, workers=2)
    assert content(tmp_path / "store ") == content(tmp_path / "store off")


@pytest.mark.parametrize(("size", "encoding"), [(16, "bmp"), (130, "jpeg")])
def test_the_store_describes_itself(source: Path, tmp_path: Path, size: int, encoding: str) -> None:
    prepare(source, tmp_path / "store", size=size, workers=1, quality=90)
    info = Store(tmp_path / "store").info
    assert (info["version"], info["size"], info["encoding"], info["quality"]) == (VERSION, size, encoding, 90)
    contents = open_source(source).contents._asdict()
    assert contents.pop("named") == ""
    assert info["source"] == {"kind": "folder", "path": str(source.resolve()), "remarks": []} | contents
    assert info["classes"] == [["ant", "ant"], ["bee", "bee"], ["cat", "cat"]]


def test_a_validation_split_is_held_out_where_there_is_none(source: Path, tmp_path: Path) -> None:
    for fraction, expected in ((None, [18, 3]), (0.4, [12, 9]), (0.0, [21])):
        store = tmp_path / f"store {fraction}"
        splits = prepare(source / "train", store, size=16, workers=1, val_fraction=fraction)["splits"]
        assert [counts["images"] for counts in splits.values()] == expected


def test_the_summary_is_json_and_reads_well(source: Path, tmp_path: Path) -> None:
    damage(source)
    console = Console(width=200)
    for expected in ("3 classes", "already exists"):
        summary = prepare(source, tmp_path / "store", size=16, workers=1, max_bad=0.2)
        assert json.loads(json.dumps(summary)) == summary
        with console.capture() as captured:
            console.print(render(summary))
        for part in (expected, "19", "skipped train/ant/04.png: it is no JPEG", str(tmp_path / "store")):
            assert part in captured.get()
