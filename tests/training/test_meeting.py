"""What ranks tell each other before they join: one rank meets others that a test plays on the same store."""

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from small_runs import write

from alexnet.study.evaluate import evaluate
from alexnet.study.features import features
from alexnet.training import meeting
from alexnet.training.meeting import RanksError, meet


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dist.Store:
    """The key-value store of two ranks, the first of which is this process."""
    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=5))
    monkeypatch.setattr(meeting, "_store", lambda: store)
    monkeypatch.setattr(meeting, "_numbers", iter(range(9)))
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(meeting.PATIENCE, "0.4")
    return store


def post(store: dist.Store, number: int = 0, **what: Any) -> None:
    """What rank 1 posts at a meeting."""
    store.set(f"alexnet/{number}/rank/1", json.dumps({"host": "other"} | what))


def ready() -> tuple[str, dict[str, str]]:
    return "ready", {"program": "a"}


def test_by_default_a_silent_rank_is_known_within_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(meeting.PATIENCE, raising=False)
    assert meeting.patience() + 4 * meeting.BETWEEN_SIGNS < 30
    monkeypatch.setenv(meeting.PATIENCE, "long")
    with pytest.raises(ValueError, match="ALEXNET_PATIENCE is 'long'; it must be a number of seconds"):
        meeting.patience()


def test_a_rank_that_never_starts_is_named(store: dist.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RanksError, match=r"^Rank 1 on another machine has given no sign of life for 0.4 seconds: "):
        meet(ready)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(RanksError, match=f"^Rank 1 on {meeting.host()} has given no sign of life"):
        meet(ready)


def test_a_rank_that_stops_giving_signs_is_named_with_its_machine(store: dist.Store) -> None:
    store.set("alexnet/0/host/1", "other")
    store.add("alexnet/0/alive/1", 3)
    with pytest.raises(RanksError, match=r"^Rank 1 on other has given no sign of life"):
        meet(ready)


def test_a_slow_rank_that_gives_signs_of_life_is_waited_for(store: dist.Store) -> None:
    def prepare_slowly() -> None:
        for _ in range(12):
            time.sleep(0.1)
            store.add("alexnet/0/alive/1", 1)
        post(store, facts={"program": "a"})

    other = threading.Thread(target=prepare_slowly)
    other.start()
    assert meet(ready) == "ready"
    other.join()


def test_this_rank_gives_signs_of_life_while_it_prepares(store: dist.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "BETWEEN_SIGNS", 0.01)

    def prepare() -> tuple[int, dict[str, str]]:
        time.sleep(0.3)
        post(store, facts={})
        return store.add("alexnet/0/alive/0", 0), {}

    assert meet(prepare) >= 3
    assert store.get("alexnet/0/host/0").decode() == meeting.host()


def test_each_meeting_has_its_own_posts(store: dist.Store) -> None:
    post(store, 0, facts={"program": "a"})
    post(store, 1, facts={"program": "b"})
    assert meet(ready) == "ready"
    with pytest.raises(RanksError, match=f"Rank 1 on other has program b, and rank 0 on {meeting.host()} has a"):
        meet(ready)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("runs") / "run")


COMMANDS: dict[str, Callable[[Path, Path], Any]] = {
    "evaluate": lambda run, folder: evaluate([run], folder / "store"),
    "features": lambda run, folder: features(run, folder / "images", folder / "fc7.npy"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_evaluate_and_features_tell_each_other_why_they_fail(
    store: dist.Store, name: str, run: Path, tmp_path: Path
) -> None:
    post(store, 0, facts={})
    with pytest.raises(RanksError, match=f"^Rank 0 on {meeting.host()}: .*(missing|no store)"):
        COMMANDS[name](tmp_path / "missing", tmp_path)
    assert str(tmp_path) in json.loads(store.get("alexnet/0/rank/0"))["error"]


def test_features_ends_where_another_rank_failed(store: dist.Store, run: Path, tmp_path: Path) -> None:
    post(store, 0, error="no such run")
    with pytest.raises(RanksError, match=r"^Rank 1 on other: no such run"):
        COMMANDS["features"](run, tmp_path)
