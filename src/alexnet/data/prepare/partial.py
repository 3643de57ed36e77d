"""A store while it is written: the folder STORE.partial, renamed to STORE when it is whole.

`state.json` says how far it is. It is replaced after every shard, so that whatever stops the work costs at
most the shard that is being filled and the one that is on its way to the disk. The sums for mean and covariance lie
in the `.npz` file that it names.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from alexnet.data.prepare.chunk import Bad
from alexnet.data.store.info import VERSION, StoreInfo, check_shards, seal
from alexnet.data.store.shard import BATCH_ROWS, Shard, ShardInfo
from alexnet.data.store.statistics import Sums
from alexnet.files import durable, lock
from alexnet.files.checksums import checksum


class Placed(NamedTuple):
    """A shard or a bad image, with the number of the shard's turn in its split (empty shards count)."""

    place: int
    what: Any


class Partial:
    """The folder STORE.partial, made, or taken up where an earlier preparation left it; a context manager.

    `plan` is what decides about the content of the store: `source`, `options`, `classes` and `encoding`.
    Raises ValueError where the folder was begun with another plan, or another process is writing it.
    """

    def __init__(self, store: Path, size: int, plan: dict[str, Any]) -> None:
        self.store, self.size = store, size
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))  # as it will be read back
        self.folder = store.with_name(store.name + ".partial")
        self.shards: list[ShardInfo] = []
        self.seen: dict[str, int] = {}  # how many images of each split are done, good or bad
        self.last: dict[str, str] = {}  # the key of the last of them
        self.bad: list[dict[str, str]] = []
        self.turns: dict[str, list[int]] = {"shards": [], "bad": []}  # of each shard and bad image, see Placed
        self.turn: dict[str, int] = {}  # how many turns each split has had
        self.sums = Sums.zeros(size)
        self._numbers: dict[str, int] = {}  # how many shards of each split have rows
        self._writer = ThreadPoolExecutor(1, "shards")
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(lock.hold(self.folder, "alexnet prepare"))
            self.take_up()
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._held:
            try:
                self.wait()
            except Exception:
                if kind is None:  # otherwise the first error is the one to tell
                    raise
            finally:
                self._writer.shutdown()

    @property
    def placed(self) -> list[Placed]:
        """The shards with their places."""
        return [*map(Placed, self.turns["shards"], self.shards)]

    @property
    def placed_bad(self) -> list[Placed]:
        """The bad images with the places of their shards."""
        return [*map(Placed, self.turns["bad"], self.bad)]

    @contextmanager
    def shard(self, split: str) -> Iterator[Shard]:
        """The next shard of `split`, to be filled; it counts once it is committed. An error deletes it."""
        shard = Shard(self.folder / f"{split}-{self._numbers.get(split, 0):05}.arrow")
        try:
            yield shard
        except BaseException:
            shard.abandon()
            raise

    def commit(self, split: str, shard: Shard, bad: Iterable[Bad], sums: Sums | None, seen: int, last: str) -> None:
        """Closes `shard` and records that `seen` images of `split`, the last with key `last`, are done.

        That happens in the background; the next `commit`, or `finish`, waits for it and raises its errors.
        """
        self.wait()
        if shard.rows:
            self._numbers[split] = self._numbers.get(split, 0) + 1
        else:
            shard.abandon()  # before the next shard takes its name
        self._written = self._writer.submit(self._commit, split, shard, list(bad), sums, seen, last)

    def wait(self) -> None:
        """Until the shard that was committed last is on the disk."""
        if self._written is not None:
            self._written.result()
            self._written = None

    def _commit(self, split: str, shard: Shard, bad: list[Bad], sums: Sums | None, seen: int, last: str) -> None:
        turn = self.turn.get(split, -1) + 1
        if shard.rows:
            try:
                self.shards.append(shard.close(split))
            except BaseException:
                shard.abandon()
                raise
            self.turns["shards"].append(turn)
        self.turn[split] = turn
        for each in bad:
            self.bad.append({"split": split, "key": each.key, "reason": each.reason})
            self.turns["bad"].append(turn)
        if sums is not None:
            self.sums.add(sums)
        self.seen[split], self.last[split] = seen, last
        sums_file = self.folder / f"sums-{sum(self.seen.values())}.npz"
        np.savez(sums_file, images=self.sums.images, first=self.sums.first, second=self.sums.second)
        durable.sync(sums_file)
        state = {
            "plan": self.plan,
            "shards": self.shards,
            "seen": self.seen,
            "last": self.last,
            "bad": self.bad,
            "turns": self.turns,
            "turn": self.turn,
            "sums": sums_file.name,
        }
        _write_json(self.folder / "state.json", state)
        for file in self.folder.glob("sums-*.npz"):
            if file != sums_file:
                file.unlink()

    def finish(self) -> StoreInfo:
        """Writes what belongs to all shards and gives the folder its name."""
        self.wait()
        images, skipped = dict.fromkeys(self.seen, 0), dict.fromkeys(self.seen, 0)
        for shard in self.shards:
            images[shard["split"]] += shard["rows"]
        for bad in self.bad:
            skipped[bad["split"]] += 1
        arrays: dict[str, str] = {}
        content = {
            "version": VERSION,
            "classes": self.plan["classes"],
            "splits": {name: {"images": images[name], "skipped": skipped[name]} for name in self.seen},
            "size": self.size,
            "encoding": self.plan["encoding"],
            "quality": self.plan["options"]["quality"],
            "source": self.plan["source"],
            "options": self.plan["options"],
            "batch_rows": BATCH_ROWS,
            "shards": self.shards,
            "skipped": self.bad,
            "arrays": arrays,
        }
        for name, array in (("mean.npy", self.sums.mean()), ("covariance.npy", self.sums.covariance())):
            with durable.whole(self.folder / name) as file:
                np.save(file, array)
            arrays[name] = checksum(self.folder / name)
        info = seal(content)
        _write_json(self.folder / "store.json", info)
        self.folder.rename(self.store)
        durable.sync(self.store.parent)
        for file in (self.store / "state.json", self.store / "skipped.txt", *self.store.glob("sums-*.npz")):
            file.unlink(missing_ok=True)
        return info

    def take_up(self) -> None:
        """Read how far an earlier preparation came. ValueError where it was another one's."""
        try:
            state = json.loads((self.folder / "state.json").read_bytes())
            plan, shards, seen, last, bad = (state[name] for name in ("plan", "shards", "seen", "last", "bad"))
            turns, turn = state["turns"], state["turn"]
            with open(self.folder / state["sums"], "rb") as file, np.load(file, allow_pickle=False) as arrays:
                sums = Sums(int(arrays["images"]), arrays["first"], arrays["second"])
        except FileNotFoundError as error:
            if error.filename == str(self.folder / "state.json"):  # it was not begun
                return
            raise ValueError(f"{error.filename} is missing: delete {self.folder} and begin again.") from None
        except Exception as error:  # numpy raises whatever it stumbles over
            raise ValueError(
                f"{self.folder} is damaged ({' '.join(str(error).split())}): delete it and begin again."
            ) from None
        if plan != self.plan:
            raise ValueError(
                f"{self.folder} is half of a store with {_difference(plan, self.plan)}: "
                "give the same as then to go on with it, or delete it."
            )
        check_shards(self.folder, shards)
        self.shards, self.seen, self.last, self.bad, self.sums = shards, seen, last, bad, sums
        self.turns, self.turn = turns, turn
        self._numbers = dict(Counter(shard["split"] for shard in shards))


def _write_json(file: Path, content: object) -> None:
    with durable.whole(file) as fresh, open(fresh, "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False, indent=1)


def _difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    """The first thing in which two plans differ, in words."""
    for part in ("source", "options"):
        for name, value in then[part].items():
            if value != now[part].get(name):
                return f"{name.replace('_', ' ')} {value}, not {now[part].get(name)}"
    return "other classes than the source has now"
