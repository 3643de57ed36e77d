"""A store that is incomplete, damaged or of another version does not open, and the message says what to do."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stores import edit, flip_byte, replace_array

from alexnet.data.prepare.partial import PartialStore
from alexnet.data.store.reader import Store


def rename_class(path: Path) -> None:
    text = (path / "store.json").read_text()
    (path / "store.json").write_text(text.replace("two", "tvo"))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no store.json": (lambda path: (path / "store.json").unlink(), "is not a store"),
    "another version": (
        lambda path: edit(path, lambda info: info.update(version=3)),
        "version 3 and this alexnet reads version 2",
    ),
    "no version": (lambda path: (path / "store.json").write_text("[]"), "version None"),
    "broken store.json": (
        lambda path: (path / "store.json").write_text('{"version": 1'),
        "store.json cannot",
    ),
    "missing shard": (lambda path: (path / "train-00001.arrow").unlink(), "train-00001.arrow is missing"),
    "short shard": (lambda path: os.truncate(path / "val-00000.arrow", 900), "val-00000.arrow has 900 bytes"),
    "missing mean": (lambda path: (path / "mean.npy").unlink(), "mean.npy is missing"),
    "cut mean": (lambda path: os.truncate(path / "mean.npy", 500), "mean.npy cannot be read"),
    "empty covariance": (
        lambda path: os.truncate(path / "covariance.npy", 0),
        "covariance.npy cannot be read",
    ),
    "wrong mean": (lambda path: replace_array(path, "mean.npy", np.zeros((3, 3))), "mean.npy holds float64"),
    "changed mean": (lambda path: flip_byte(path / "mean.npy", 500), "mean.npy cannot be read .it does not match its"),
    "pickled mean": (
        lambda path: replace_array(path, "mean.npy", np.array([{}, None])),
        "mean.npy cannot be read .*objects",
    ),
    "endless store.json": (lambda path: (path / "store.json").write_text("[" * 100_000), "store.json cannot be read"),
    "changed name": (lambda path: rename_class(path), "store.json does not match its own checksum"),
    "classes of numbers": (lambda path: edit(path, lambda info: info.update(classes=[1, 2])), "classes is not a list"),
    "no shards": (lambda path: edit(path, lambda info: info.pop("shards")), "shards is missing"),
    "size of words": (lambda path: edit(path, lambda info: info.update(size="large")), "size is 'large', not a number"),
    "huge size": (lambda path: edit(path, lambda info: info.update(size=10**9)), "size 1000000000 or .* no sense"),
    "shard elsewhere": (
        lambda path: edit(path, lambda info: info["shards"][0].update(file="../../secret.arrow")),
        "secret.arrow' is not a shard",
    ),
    "more rows than the shard can hold": (
        lambda path: edit(path, lambda info: info["shards"][0].update(rows=2**31)),
        "train-00000.arrow is too short for 2147483648 rows",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_store_is_refused_with_the_reason(store: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    Store(store)
    damage(store)
    with pytest.raises(ValueError, match=message) as caught:
        Store(store)
    assert str(store) in str(caught.value)
    assert "prepare" in str(caught.value)


def test_a_missing_store_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="There is no store at"):
        Store(store / "elsewhere")
    with pytest.raises(ValueError, match="is not a store"):
        Store(store / "store.json")
    store.rename(store.with_name("other.partial"))
    with pytest.raises(ValueError, match=r"other is unfinished: .* resumes"):
        Store(store.with_name("other"))


def test_a_store_that_is_being_written_is_refused(tmp_path: Path) -> None:
    with PartialStore(tmp_path / "store", 16, {}):
        for path in (tmp_path / "store", tmp_path / "store.partial"):
            with pytest.raises(ValueError, match=rf"{path} is still being written by alexnet prepare: wait"):
                Store(path)
    (tmp_path / "store.partial").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=r"store is unfinished"):
        Store(tmp_path / "store")


@pytest.mark.parametrize("name", ["store.json", "mean.npy", "covariance.npy", "val-00000.arrow"])
def test_a_disk_that_fails_on_opening_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (store / name).unlink()
    (store / name).mkdir()  # what root too cannot read as a file
    with pytest.raises(ValueError, match=rf"{name} (cannot be read \(Is a directory\): check that|has \d+ bytes)"):
        Store(store)
