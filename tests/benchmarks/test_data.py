"""The comparisons of loading and preparing, each at its smallest size."""

import json
import sys
from pathlib import Path

import pytest
from scripts import run_script

from alexnet.bench.synthetic_photos import draw_photos
from alexnet.data.prepare.prepare import prepare
from benchmarks.loading.scaling import doublings
from benchmarks.loading.store_sizes import make_linked_store
from benchmarks.loading.throughput import BATCH


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs") / "images"
    draw_photos(folder, BATCH)
    return folder


@pytest.fixture(scope="module")
def store(images: Path) -> Path:
    prepare(images, images.parent / "store", val_fraction=0)
    return images.parent / "store"


def test_loading(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    run_script("benchmarks.loading.throughput", store, "--images", BATCH, "--rounds", 1, "--out", out)
    section = json.loads(out.read_text())["loading"]
    (rates,) = section["results"].values()
    assert rates.keys() >= {"alexnet", "PyTorch DataLoader, torchvision", section["reference"]}
    for library in ("WebDataset", "tf.data", "FFCV"):
        assert (library in rates) != (library in section.get("missing", {})), library


def test_preparing(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    run_script("benchmarks.preparing.throughput", images, "--images", 1, "--rounds", 1, "--out", out)
    section = json.loads(out.read_text())["preparing"]
    rates = section["results"][f"{BATCH} images"]
    assert rates.keys() >= {"alexnet", "Pillow script", section["reference"]}
    for library in ("OpenCV script", "img2dataset"):
        assert (library in rates) != (library in section.get("missing", {})), library
    assert section["results"]["psnr"]["alexnet"]["least"] > 25


def test_loading_by_threads(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    sizes = ("--threads", 1, 2, "--batch-size", 16, "--images", 32, "--rows", 2 * BATCH, "--rounds", 1)
    run_script("benchmarks.loading.scaling", store, *sizes, "--out", out)
    results = json.loads(out.read_text())["threads"]["results"]
    assert results["loading"].keys() == results["python_microseconds_per_image"].keys() == {"1 thread", "2 threads"}
    assert doublings(1) == [1] and doublings(6) == [1, 2, 4, 6] and doublings(8) == [1, 2, 4, 8]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_stores_of_many_sizes_deliver_their_rows(store: Path, tmp_path: Path) -> None:
    from alexnet.data.store.reader import Store

    make_linked_store(store, tmp_path / "linked", 3 * BATCH)
    split = Store(tmp_path / "linked").split("train")
    assert len(split) == 3 * BATCH
    assert (split.image(0) == split.image(2 * BATCH)).all()
    rows = ("--rows", BATCH, 2 * BATCH, "--images", 2 * BATCH, "--rounds", 1)
    said = run_script("benchmarks.loading.store_sizes", store, *rows)
    results = json.loads(said.splitlines()[-1])["results"]
    assert results["loading"].keys() == results["opening"].keys() == {f"{BATCH} rows", f"{2 * BATCH} rows"}
