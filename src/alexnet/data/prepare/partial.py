"""A store while it is being written: the folder STORE.partial, renamed to STORE when it is whole.

`state.json` says how far it is. It is replaced after every shard, so that an interruption costs at most the shard that
is being filled and the one that is being written to the disk. The sums for mean and covariance are in the `.npz` file
that it names.
"""

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np

from alexnet.data.prepare.chunk import Skipped
from alexnet.data.prepare.doubles import SUFFIX, digests_of, find_doubles
from alexnet.data.store.info import VERSION, StoreInfo, check_shards, seal
from alexnet.data.store.shard import BATCH_ROWS, Shard, ShardInfo
from alexnet.data.store.statistics import Sums
from alexnet.files import durable, lock
from alexnet.files.checksums import checksum
from alexnet.files.json_file import read_json
from alexnet.files.regular import open_regular

LARGEST_REST = 4096
"""Bytes of the file of sums beside the largest array."""
STATE = "state.json"
TOO_MANY_SKIPPED = "skipped.txt"
"""The list of skipped images, where there were too many of them."""


class State(TypedDict):
    """The content of `state.json`; see the attributes of `PartialStore`."""

    plan: dict[str, Any]
    shards: list[Any]
    skipped: list[Any]
    commits: dict[str, int]
    done: dict[str, int]
    last: dict[str, str]
    sums: str


def partial_folder(store: Path) -> Path:
    """Where a store is until it is whole: STORE.partial."""
    return store.with_name(store.name + ".partial")


class PartialStore:
    """The folder STORE.partial: created, or resumed where an earlier preparation stopped. A context manager.

    `plan` is what decides the content of the store: `source`, `options`, `classes` and `encoding`. Raises ValueError
    where the folder was started with another plan, or another process is writing it.
    """

    def __init__(self, store: Path, size: int, plan: dict[str, Any]) -> None:
        self.store, self.size = store, size
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))  # as it will be read back
        self.folder = partial_folder(store)
        self.shards: list[tuple[int, ShardInfo]] = []
        """Each shard with the number of its commit in its split. A commit without a readable image makes no shard."""
        self.skipped: list[tuple[int, dict[str, str]]] = []
        """Split, key and reason of each skipped image, with the number of its commit."""
        self.commits: dict[str, int] = {}
        """How many commits each split has had."""
        self.done: dict[str, int] = {}
        """How many images of each split are done, stored or skipped."""
        self.last: dict[str, str] = {}
        """The key of the last of them."""
        self.sums = Sums.zeros(size)
        self._shard_counts: Counter[str] = Counter()
        self._writer = ThreadPoolExecutor(1, "shards")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(lock.hold(self.folder, "alexnet prepare"))
            self.resume()
            self._lock = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            try:
                self.wait()
            except Exception:
                if kind is None:  # otherwise the first error is the one to report
                    raise
            finally:
                self._writer.shutdown()

    @contextmanager
    def new_shard(self, split: str) -> Iterator[Shard]:
        """The next shard of `split`, to be filled. It counts once it is committed; an error deletes it."""
        shard = Shard(self.folder / f"{split}-{self._shard_counts[split]:05}.arrow")
        try:
            yield shard
        except BaseException:
            shard.abandon()
            raise

    def commit(
        self, split: str, shard: Shard, skipped: Iterable[Skipped], sums: Sums | None, done: int, last: str
    ) -> None:
        """Close `shard` and record that `done` images of `split`, the last with key `last`, are done.

        This happens in the background. The next `commit`, or `finish`, waits for it and raises its errors.
        """
        self.wait()
        if shard.rows:
            self._shard_counts[split] += 1
        else:
            shard.abandon()  # before the next shard takes its name
        self._pending = self._writer.submit(self._commit, split, shard, list(skipped), sums, done, last)

    def wait(self) -> None:
        """Wait until the last commit is on the disk."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _commit(
        self, split: str, shard: Shard, skipped: list[Skipped], sums: Sums | None, done: int, last: str
    ) -> None:
        number = self.commits.get(split, 0)
        if shard.rows:
            try:
                np.save(digests_of(self.folder, shard.file.name), np.array(shard.digests, np.uint64))
                self.shards.append((number, shard.close(split)))
            except BaseException:
                shard.abandon()
                raise
        self.commits[split] = number + 1
        self.skipped += [(number, {"split": split, "key": each.key, "reason": each.reason}) for each in skipped]
        if sums is not None:
            self.sums.add(sums)
        self.done[split], self.last[split] = done, last
        self._save()

    def _save(self) -> None:
        sums_file = self.folder / f"sums-{sum(self.done.values())}.npz"
        np.savez(sums_file, images=self.sums.images, first=self.sums.first, second=self.sums.second)
        durable.sync(sums_file)
        state = {
            "plan": self.plan,
            "shards": self.shards,
            "skipped": self.skipped,
            "commits": self.commits,
            "done": self.done,
            "last": self.last,
            "sums": sums_file.name,
        }
        durable.write_json(self.folder / STATE, state)
        for file in self.folder.glob("sums-*.npz"):
            if file != sums_file:
                file.unlink()

    def resume(self) -> None:
        """Read how far an earlier preparation got. ValueError where its plan was another one."""
        if not (self.folder / STATE).exists():  # nothing has been committed
            return
        with self._damaged_unless_read():
            state = read_json(self.folder / STATE, State)
            plan, shards, skipped = state["plan"], state["shards"], state["skipped"]
            commits, done, last = state["commits"], state["done"], state["last"]
            counts = Counter(shard["split"] for _, shard in shards)
            same = _essential(plan) == _essential(self.plan)
            difference = "" if same else _difference(plan, self.plan)
        if difference:
            raise ValueError(
                f"{self.folder} was started with {difference}: "
                "use the same options and source to resume it, or delete it."
            )
        with self._damaged_unless_read():
            sums = read_sums(self.folder / Path(state["sums"]).name, self.sums)
        check_shards(self.folder, [shard for _, shard in shards])
        self.shards, self.skipped, self.commits = [(n, s) for n, s in shards], [(n, s) for n, s in skipped], commits
        self.done, self.last, self.sums, self._shard_counts = done, last, sums, counts

    @contextmanager
    def _damaged_unless_read(self) -> Iterator[None]:
        """What cannot be read is a ValueError that says so."""
        try:
            yield
        except FileNotFoundError as error:
            raise ValueError(f"{error.filename} is missing: delete {self.folder} and start over.") from None
        except MemoryError:
            raise
        except Exception as error:  # NumPy raises nearly anything for a damaged file
            reason = " ".join(str(error).split())
            raise ValueError(f"{self.folder} is damaged ({reason}): delete it and start over.") from None

    def finish(self) -> StoreInfo:
        """Write the mean image, the covariance and `store.json`, and give the folder its name."""
        self.wait()
        images, skipped = Counter[str](), Counter(each["split"] for _, each in self.skipped)
        for _, shard in self.shards:
            images[shard["split"]] += shard["rows"]
        arrays = {"mean.npy": self.sums.mean(), "covariance.npy": self.sums.covariance()}
        for name, array in arrays.items():
            with durable.whole(self.folder / name) as file:
                np.save(file, array)
        info = seal(
            {
                "version": VERSION,
                "classes": self.plan["classes"],
                "splits": {name: {"images": images[name], "skipped": skipped[name]} for name in self.done},
                "size": self.size,
                "encoding": self.plan["encoding"],
                "quality": self.plan["options"]["quality"],
                "source": self.plan["source"],
                "options": self.plan["options"],
                "batch_rows": BATCH_ROWS,
                "shards": [shard for _, shard in self.shards],
                "skipped": [each for _, each in self.skipped],
                "in_both_splits": find_doubles(
                    self.folder, [shard for _, shard in self.shards], self.size, len(self.plan["classes"])
                ),
                "arrays": {name: checksum(self.folder / name) for name in arrays},
            }
        )
        durable.write_json(self.folder / "store.json", info)
        self.folder.rename(self.store)
        durable.sync(self.store.parent)
        temporary = [*self.store.glob("sums-*.npz"), *self.store.glob(f"*{SUFFIX}")]
        for file in (self.store / STATE, self.store / TOO_MANY_SKIPPED, *temporary):
            file.unlink(missing_ok=True)
        return info


def _essential(plan: dict[str, Any]) -> dict[str, Any]:
    """What of a plan decides the content of the store."""
    return plan | {"source": {k: v for k, v in plan.get("source", {}).items() if k not in ("left_out", "remarks")}}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first difference between two plans, in words."""
    was, source = before["source"], now["source"]
    if was["path"] == source["path"] and was["sha256"] != source["sha256"]:
        return f"{was['images']:,} images, and the source has changed since: it has {source['images']:,} now"
    for part in ("source", "options"):
        for name, value in before[part].items():
            if value != now[part].get(name):
                return f"{name.replace('_', ' ')} {value}, not {now[part].get(name)}"
    return "other classes than the source has now"


def read_sums(path: Path, like: Sums) -> Sums:
    """The sums in a file, of the shapes of `like`. ValueError where they are of others, before they are unpacked."""
    with open_regular(path) as file:
        with zipfile.ZipFile(file) as members:
            if sum(each.file_size for each in members.infolist()) > like.first.nbytes + LARGEST_REST:
                raise ValueError("its sums are of larger images")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            found = Sums(int(arrays["images"]), arrays["first"], arrays["second"])
    for mine, theirs in ((like.first, found.first), (like.second, found.second)):
        if (mine.shape, mine.dtype) != (theirs.shape, theirs.dtype):
            raise ValueError(f"its sums have shape {list(theirs.shape)} and dtype {theirs.dtype}")
    return found
