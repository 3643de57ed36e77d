"""The index of a store: what it holds, that it resumes, and that `alexnet similar` and it share the activations."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from alexnet.config import NetworkConfig
from alexnet.data.store.reader import Store
from alexnet.explore import indexer as room
from alexnet.explore.indexer import Background, Indexer
from alexnet.explore.runs import Run
from alexnet.explore.units import BINS, KEPT, LayerUnits, Units
from alexnet.files import lock
from alexnet.files.rows import RowFile
from alexnet.model.layers import layers_of
from alexnet.study import index
from alexnet.study.activations import activations, centre_views
from alexnet.study.index import open_index


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy of the first run without an index."""
    return Path(shutil.copytree(folder / "paper", tmp_path / "run", ignore=shutil.ignore_patterns("index")))


def never() -> bool:
    return False


def made(run: Path, store: Path, make_way: Callable[[], bool] = never, stop: threading.Event | None = None) -> Indexer:
    found = Indexer(Run(0, run, "cpu"), Store(store))
    found.work(make_way, stop or threading.Event())
    return found


def arrays(found: Indexer) -> dict[str, np.ndarray]:
    assert found.units is not None
    return {f"{n}.{a}": getattr(u, a) for n, u in found.units.layers.items() for a in LayerUnits.ARRAYS}


def test_the_index_is_what_looking_at_each_image_gives(own: Path, folder: Path) -> None:
    found = made(own, folder / "store")
    assert found.about() == {"state": "done", "done": 35, "of": 35, "split": "train", "error": ""}
    net, train = Run(0, own, "cpu").net, Store(folder / "store").split("train")
    images = torch.from_numpy(np.stack([train.image(i) for i in range(35)]))
    assert found.units is not None
    for name, units in found.units.layers.items():
        maps = activations(net, centre_views(net, images), [name])[name].reshape(35, len(units.value), -1)
        most = maps.max(2)  # [35, units]
        order = np.argsort(-most, axis=0, kind="stable")[:KEPT].T
        assert np.allclose(units.value, np.take_along_axis(most.T, order, 1), rtol=1e-4, atol=1e-4)
        assert (units.image == order).mean() > 0.99  # rounding may order equals otherwise
        where = np.take_along_axis(maps.argmax(2).T, units.image, 1)
        assert (units.position == where).mean() > 0.99
        assert np.abs(units.active - (most > 0).sum(0)).max() <= 1 and (units.counts.sum(1) == 35).all()
        sums = np.stack([most[train.labels == label].clip(min=0).sum(0) for label in range(7)])
        assert np.allclose(units.sums, sums, rtol=1e-3, atol=1e-3)


def test_a_histogram_widens_without_losing_an_image() -> None:
    random = np.random.default_rng(0)
    units = LayerUnits(3, 1)
    values = random.normal(0, [1, 2, 4], (400, 3)) * np.linspace(0.1, 50, 400)[:, None]
    for first in range(0, 400, 40):
        part = values[first : first + 40].astype(np.float32)
        units.add(first, part, np.zeros((40, 3), np.int64), np.zeros(40, np.int64))
    edges = np.linspace(-units.range[0], units.range[0], BINS + 1)
    for unit in range(3):
        expected = np.histogram(values[:, unit].astype(np.float32), edges)[0]
        assert units.counts[unit].sum() == 400 and np.abs(units.counts[unit] - expected).sum() <= 4


def test_an_interrupted_index_resumes_and_ends_the_same(
    own: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BATCH_SIZE", 8)
    whole = made(Path(shutil.copytree(own, tmp_path / "other")), folder / "store")
    stop, batches = threading.Event(), iter(range(99))

    def stop_at_the_third() -> bool:
        if next(batches) == 2:
            stop.set()
        return False

    half = made(own, folder / "store", stop_at_the_third, stop)
    assert half.units is not None and half.units.done == 16 and half.state == "running" and half.rows is None
    begun: list[int] = []
    monkeypatch.setattr(room.Rows, "begin", lambda self: begun.append(1))
    resumed = made(own, folder / "store")
    assert not begun and resumed.state == "done"
    for name, array in arrays(whole).items():
        assert np.array_equal(array, arrays(resumed)[name]), name
    assert whole.rows is not None and resumed.rows is not None
    assert np.array_equal(whole.rows.read(0, 35), resumed.rows.read(0, 35))


def test_similar_uses_these_activations_and_would_have_computed_the_same(
    own: Path, folder: Path, tmp_path: Path
) -> None:
    found = made(own, folder / "store")
    written = (own / "index/train.npy").stat().st_mtime_ns
    run, store = Run(0, own, "cpu"), Store(folder / "store")
    rows = open_index(run.net, own / "index", store, "train")
    assert (own / "index/train.npy").stat().st_mtime_ns == written and isinstance(found.rows, RowFile)
    elsewhere = open_index(run.net, tmp_path / "elsewhere", store, "train")
    assert np.array_equal(rows.read(0, 35), elsewhere.read(0, 35))
    again = made(own, folder / "store")  # and the index of `similar` is used here
    assert again.state == "done" and (own / "index/train.npy").stat().st_mtime_ns == written


@pytest.mark.parametrize("damage", ["truncated", "other weights", "rows missing", "more rows", "text"])
def test_what_is_damaged_or_out_of_date_is_made_again(own: Path, folder: Path, damage: str) -> None:
    first = made(own, folder / "store")
    file = own / "index/units/train.safetensors"
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        file.write_bytes(b"nothing of the kind")
    elif damage == "other weights":
        assert first.units is not None
        other = Units(first.run.net.layers, 7, {"weights": "others"})
        other.done = 35
        other.save(file)
    elif damage == "rows missing":
        (own / "index/train.npy").unlink()
    else:
        rows = np.load(own / "index/train.npy")
        np.save(own / "index/train.npy", np.concatenate([rows, rows]))
    again = made(own, folder / "store")
    assert again.state == "done" and again.rows is not None and len(again.rows) == 35
    for name, array in arrays(first).items():
        assert np.array_equal(array, arrays(again)[name]), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("done", value) for value in (-1, 36)),
        *(("conv1.image", value) for value in (35, -2)),
        *(("conv1.position", value) for value in (-1, 1 << 40)),
        *(("conv1.counts", value) for value in (-1, 36)),
        ("conv1.active", 36),
        ("conv1.range", np.nan),
        ("conv1.sums", np.inf),
        ("conv1.value", np.nan),
    ],
)
def test_numbers_that_cannot_be_are_not_believed(tmp_path: Path, name: str, value: float) -> None:
    def new() -> Units:
        return Units(layers_of(NetworkConfig(input_size=63, width=1 / 24)), 2, {})

    made = new()
    made.done = 35
    for layer in made.layers.values():
        layer.add(0, np.ones((35, len(layer.active)), np.float32), np.zeros((35, len(layer.active)), np.int64), LABELS)
    made.save(tmp_path / "units")
    assert new().load(tmp_path / "units", 35)
    kept = load_arrays((tmp_path / "units").read_bytes())
    kept[name].reshape(-1)[0] = value
    (tmp_path / "units").write_bytes(save_arrays(kept))
    assert not new().load(tmp_path / "units", 35)


LABELS = np.arange(35) % 2


def test_a_run_that_cannot_be_written_has_its_index_in_the_cache(
    own: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setattr(room.os, "access", lambda path, mode: "cache" in str(path))
    found = made(own, folder / "store")
    assert found.state == "done" and list((tmp_path / "cache").rglob("train.npy"))
    assert not list(own.rglob("train*"))


def test_another_explore_is_waited_for(own: Path, folder: Path) -> None:
    (own / "index/units").mkdir(parents=True)
    found = Indexer(Run(0, own, "cpu"), Store(folder / "store"))
    background = Background([found], never)
    with lock.hold(own / "index/units", "alexnet explore"):
        background.start()
        for _ in range(200):
            if found.problem:
                break
            background.thread.join(0.05)
        assert found.state == "waiting" and "waits for it" in found.problem
    background.thread.join(30)
    assert found.state == "done" and found.problem == ""


def test_requests_go_first(own: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LONGEST_PAUSE", 0.2)
    asked: list[int] = []

    def busy() -> bool:
        asked.append(1)
        return True

    found = made(own, folder / "store", busy)
    assert len(asked) > 2 and found.state == "done"  # it waits, but not for ever


def test_a_store_that_fails_is_a_sentence(own: Path, folder: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(folder / "store", tmp_path / "store"))
    found = Indexer(Run(0, own, "cpu"), Store(store))
    for file in store.glob("train-*.arrow"):
        file.write_bytes(file.read_bytes()[:2000])
    found.work(never, threading.Event())
    assert found.state == "failed" and "train-00000.arrow" in found.problem
