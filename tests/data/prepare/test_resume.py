"""Interrupted preparing resumes to the same store, or says why it cannot."""

import errno
import re
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preparing import content, damage, interrupt_at

from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.shard import Shard
from alexnet.data.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 7, 8, 9])
def test_interrupted_anywhere_it_resumes_to_the_same_store(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    damage(source)
    options = {"size": 16, "workers": 1, "max_bad": 0.2}
    prepare(source, tmp_path / "whole", **options)
    store = tmp_path / "store"
    worked = interrupt_at(monkeypatch, number, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="the same command resumes"):
        prepare(source, store, **options)
    assert not store.exists()
    before = set(worked)
    worked.clear()
    summary = prepare(source, store, **options)
    assert len(before & set(worked)) in ((0,) if number in (0, 2, 9) else (3,))  # of the shard it was at
    assert summary["splits"]["train"] == {"images": 19, "skipped": 2}
    assert content(store) == content(tmp_path / "whole")
    assert sorted(tmp_path.iterdir()) == [source, store, tmp_path / "whole"]


def test_a_full_disk_and_a_killed_worker_are_explained(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(source, tmp_path / "whole", size=16, workers=1)
    for error, message in (
        (OSError(errno.ENOSPC, "full"), r"No space is left for .*store.partial: free some"),
        (BrokenProcessPool(), "worker process was killed"),
    ):
        with monkeypatch.context() as patched:
            interrupt_at(patched, 4, error)
            with pytest.raises(ValueError, match=message) as caught:
                prepare(source, tmp_path / "store", size=16, workers=1)
        assert re.search("same command.* resumes", str(caught.value))
    prepare(source, tmp_path / "store", size=16, workers=1)
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_shard_that_could_not_be_written_is_not_counted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Shard.close

    def fail(shard: Shard, split: str):
        if shard.file.name == "train-00002.arrow":
            raise OSError(errno.ENOSPC, "full")
        return close(shard, split)

    with monkeypatch.context() as patched:
        patched.setattr(Shard, "close", fail)
        with pytest.raises(ValueError, match="No space is left"):
            prepare(source, tmp_path / "store", size=16, workers=1)
    assert not (tmp_path / "store.partial" / "train-00002.arrow").exists()
    prepare(source, tmp_path / "store", size=16, workers=1)
    assert verify_store(tmp_path / "store")["splits"] == {"train": 21, "val": 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 17}, "size 16, not 17"),
        ({"quality": 50}, "quality 95, not 50"),
        ({"seed": 1}, "seed 0, not 1"),
    ],
)
def test_a_partial_store_is_not_resumed_with_other_options(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    interrupt_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", size=16, workers=1)
    before = content(tmp_path / "store.partial")
    with pytest.raises(ValueError, match=f"store.partial was started with {message}: .* or delete it"):
        prepare(source, tmp_path / "store", **{"size": 16, "workers": 1, **change})
    assert content(tmp_path / "store.partial") == before


@pytest.mark.parametrize("damage", ["no sums", "cut sums", "pickled sums", "huge sums", "other sums", "state", "shard"])
def test_a_damaged_partial_store_is_not_resumed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    interrupt_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", size=16, workers=1)
    partial = tmp_path / "store.partial"
    (sums,) = partial.glob("sums-*.npz")
    match damage:
        case "no sums":
            sums.unlink()
        case "cut sums":
            sums.write_bytes(sums.read_bytes()[:300])
        case "pickled sums":
            np.savez(sums, images=np.array([{}]), values=np.array([{}]), products=np.array([{}]))
        case "huge sums":  # 80 MB in a file of 80 kB
            np.savez_compressed(sums, images=1, first=np.zeros((16, 16, 40_000), np.int64), second=np.zeros((3, 3)))
        case "other sums":
            np.savez(sums, images=1, first=np.zeros((8, 16, 3), np.int64), second=np.zeros((3, 3), np.int64))
        case "state":
            (partial / "state.json").write_text('{"plan": {}}')
        case "shard":
            (partial / "train-00000.arrow").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"store.partial.*delete"):
        prepare(source, tmp_path / "store", size=16, workers=1)


@pytest.mark.parametrize("change", ["remove", "add", "class"])
def test_a_partial_store_is_not_resumed_from_changed_images(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    interrupt_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", size=16, workers=1)
    if change == "remove":
        (source / "train/ant/00.png").unlink()
    elif change == "add":
        (source / "train/ant/0.png").write_bytes((source / "train/ant/00.png").read_bytes())
    else:
        for split in ("train", "val"):
            (source / split / "ant").rename(source / split / "ape")
    with pytest.raises(ValueError, match=r"store.partial .*delete it"):
        prepare(source, tmp_path / "store", size=16, workers=1)
