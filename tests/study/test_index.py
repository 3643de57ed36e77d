"""The index of a store, and the nearest images in it."""

import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.files.rows import RowFile
from alexnet.study.index import nearest, open_index
from alexnet.study.similar import similar
from alexnet.study.trained import load


def test_chunks_do_not_change_what_is_nearest(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 8)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    index = RowFile(tmp_path / "rows.npy")
    queries = torch.from_numpy(random.normal(size=(4, 8)).astype(np.float32))
    numbers, distances = nearest(index, queries, 6)
    exact = np.linalg.norm(rows[None] - queries.numpy()[:, None], axis=2)
    assert np.array_equal(numbers.numpy(), np.argsort(exact, axis=1)[:, :6])
    in_chunks = nearest(index, queries, 6, rows_at_once=7)
    assert torch.equal(in_chunks[0], numbers)
    assert torch.allclose(in_chunks[1], distances)


def second_store(source: Path, folder: Path) -> None:
    """`folder`/second: a store of fewer images, the first two of each class."""
    for image in sorted(source.glob("*/*/*_[01].png")):
        target = folder / "smaller" / image.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(image.read_bytes())
    prepare(folder / "smaller", folder / "second", size=56, workers=1)


def test_the_index_is_computed_once_and_again_when_weights_or_store_change(
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

    second_store(source, tmp_path)
    (query,) = similar(own_run, path, tmp_path / "second", count=100, device="cpu")["queries"]
    assert len(query["nearest"]) == 12


def test_an_index_that_was_interrupted_is_computed_again(own_run: Path, source: Path, store: Path) -> None:
    net = load(own_run, "cpu")
    batches = iter(range(2))

    def interrupt(module: torch.nn.Module, inputs: object) -> None:
        if next(batches, None) is None:
            raise KeyboardInterrupt

    with net.register_forward_pre_hook(interrupt), pytest.raises(KeyboardInterrupt):
        open_index(net, own_run / "index", Store(store), "train", batch_size=12)
    again = similar(own_run, [source / "val" / "n03000684" / "n03000684_1.png"], store, device="cpu")
    assert np.load(own_run / "index" / "train.npy").any(axis=1).all()
    assert [file.suffix for file in sorted((own_run / "index").iterdir())] == [".json", ".npy"]
    assert len(again["queries"][0]["nearest"]) == 6


@pytest.mark.parametrize("damage", ["more rows", "wider", "truncated", "text"])
def test_an_index_that_is_not_what_its_label_says_is_computed_again(
    own_run: Path, source: Path, store: Path, damage: str
) -> None:
    path = source / "val" / "n03000684" / "n03000684_1.png"
    expected, file = find(own_run, path, store), own_run / "index" / "train.npy"
    content, rows = file.read_bytes(), np.load(file)
    if damage == "more rows":  # all of them the query itself
        np.save(file, np.concatenate([rows, np.repeat(rows[expected[0]][None], 9, 0)]))
    elif damage == "wider":
        np.save(file, np.pad(rows, [(0, 0), (0, 1)]))
    else:
        file.write_bytes(content[:-1] if damage == "truncated" else b"nothing of the kind")
    assert find(own_run, path, store) == expected
    assert file.read_bytes() == content


def test_an_index_with_numbers_that_are_not_finite_is_refused_by_file_and_row(tmp_path: Path) -> None:
    rows = np.ones((9, 4), np.float32)
    rows[5, 2] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    for rows_at_once in (4, 100):
        with pytest.raises(ValueError, match=r"rows\.npy, row 5, has a value that is not finite: delete"):
            nearest(RowFile(tmp_path / "rows.npy"), torch.ones(1, 4), 2, rows_at_once)


def find(run: Path, image: Path, store: Path) -> list[int]:
    (query,) = similar(run, [image], store, device="cpu")["queries"]
    return [found["index"] for found in query["nearest"]]


def test_processes_at_once_get_the_answer_of_one(own_run: Path, source: Path, store: Path, tmp_path: Path) -> None:
    """Two stores, so that each process wants another index under the same name."""
    second_store(source, tmp_path)
    images = sorted(source.glob("val/*/*_0.png"))
    questions = [(own_run, image, which) for image in images[:2] for which in (store, tmp_path / "second")]
    alone = [find(*question) for question in questions]
    shutil.rmtree(own_run / "index")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(find, *zip(*questions, strict=True))) == alone
    assert sorted(file.name for file in (own_run / "index").iterdir()) == ["train.json", "train.npy"]
