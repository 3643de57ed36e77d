"""A store while it is written: the folder STORE.partial, renamed to STORE when it is whole.

`state.json` says how far it is; it is replaced after every shard, so that whatever stops the work costs at most one
shard. Sums for mean and covariance lie in the `.npz` file that it names.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from alexnet.data.chunk import Bad, Row, Sums
from alexnet.data.store import BATCH_ROWS, SCHEMA, VERSION, ShardInfo, StoreInfo, check_shards


class Partial:
    """The folder STORE.partial: made, or taken up where an earlier preparation left it. Use as a context manager.

    `plan` is what decides about the content of the store; raises ValueError where the folder was begun with another
    plan, or where another process is writing it.
    """

    def __init__(self, store: Path, size: int, plan: dict[str, Any]) -> None:
        self.store, self.size = store, size
        self.plan: dict[str, Any] = json.loads(json.dumps(plan))  # as it will be read back
        self.folder = store.with_name(store.name + ".partial")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(self.folder, os.O_RDONLY)
        try:
            self._lock()
            self.shards: list[ShardInfo] = []
            self.seen: dict[str, int] = {}  # pictures of each split that are done, good or bad
            self.last: dict[str, str] = {}  # the key of the last of them
            self.bad: list[dict[str, str]] = []
            self.sums = Sums.none(size)
            self._take_up()
        except BaseException:
            os.close(self.lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.lock)

    @property
    def bad_pictures(self) -> list[Bad]:
        return [Bad(bad["key"], bad["reason"]) for bad in self.bad]

    @contextmanager
    def shard(self, split: str) -> Iterator["Shard"]:
        """The next shard of `split`, to be filled. It counts once it is committed; on an error it is deleted."""
        number = sum(shard["split"] == split for shard in self.shards)
        shard = Shard(self.folder / f"{split}-{number:05}.arrow")
        try:
            yield shard
        except BaseException:
            shard.abandon()
            raise

    def commit(self, split: str, shard: "Shard", bad: Iterable[Bad], sums: Sums | None, seen: int, last: str) -> None:
        """Records that `shard` is whole and that the first `seen` pictures of `split`, up to key `last`, are done."""
        shard.close()
        if shard.rows:
            self.shards.append(shard.info(split))
        else:
            shard.file.unlink()
        self.bad += [{"split": split, "key": each.key, "reason": each.reason} for each in bad]
        if sums is not None:
            self.sums.add(sums)
        self.seen[split], self.last[split] = seen, last
        name = f"sums-{sum(self.seen.values())}.npz"
        np.savez(self.folder / name, pictures=self.sums.pictures, values=self.sums.values, products=self.sums.products)
        state = {
            "plan": self.plan, "shards": self.shards, "seen": self.seen, "last": self.last, "bad": self.bad, "sums": name,
        }  # fmt: skip
        _write_json(self.folder / "state.json", state)
        for file in self.folder.glob("sums-*.npz"):
            if file.name != name:
                file.unlink()

    def finish(self) -> StoreInfo:
        """Writes what belongs to all shards and gives the folder its name."""
        plan, rows = self.plan, {split: 0 for split in self.seen}
        skipped = dict(rows)
        for shard in self.shards:
            rows[shard["split"]] += shard["rows"]
        for bad in self.bad:
            skipped[bad["split"]] += 1
        info: StoreInfo = {
            "version": VERSION,
            "classes": plan["classes"],
            "splits": {split: {"pictures": rows[split], "skipped": skipped[split]} for split in self.seen},
            "size": self.size,
            "encoding": plan["encoding"],
            "quality": plan["options"]["quality"],
            "source": plan["source"],
            "options": plan["options"],
            "batch_rows": BATCH_ROWS,
            "shards": self.shards,
            "skipped": self.bad,
        }
        np.save(self.folder / "mean.npy", self.sums.mean())
        np.save(self.folder / "covariance.npy", self.sums.covariance())
        _write_json(self.folder / "store.json", info)
        self.folder.rename(self.store)
        for file in (self.store / "state.json", *self.store.glob("sums-*.npz")):
            file.unlink()
        return info

    def _lock(self) -> None:
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{self.folder} is being written by another alexnet prepare: wait for that one.") from None
        except OSError:  # a file system without locks
            pass

    def _take_up(self) -> None:
        try:
            state = json.loads((self.folder / "state.json").read_bytes())
        except FileNotFoundError:
            return
        if state["plan"] != self.plan:
            old, new = _differing(state["plan"], self.plan)
            raise ValueError(
                f"{self.folder} was begun with {old} and not {new}: give the same again to go on there, or delete it."
            )
        self.shards, self.seen, self.last, self.bad = (state[key] for key in ("shards", "seen", "last", "bad"))
        check_shards(self.folder, self.shards)
        with np.load(self.folder / state["sums"]) as sums:
            self.sums = Sums(int(sums["pictures"]), sums["values"], sums["products"])


class Shard:
    """A shard being written, in record batches of `BATCH_ROWS` rows."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, 0
        self._waiting: list[Row] = []
        self._file = open(file, "wb")
        self._writer = pa.ipc.new_file(self._file, SCHEMA)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._waiting.append(row)
            if len(self._waiting) == BATCH_ROWS:
                self._write()

    def close(self) -> None:
        """Writes what waits."""
        self._write()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Deletes the file."""
        self._file.close()
        self.file.unlink(missing_ok=True)

    def info(self, split: str) -> ShardInfo:
        with open(self.file, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {
            "file": self.file.name, "split": split, "rows": self.rows, "bytes": self.file.stat().st_size, "sha256": digest,
        }  # fmt: skip

    def _write(self) -> None:
        if self._waiting:
            columns = zip(*self._waiting, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
            self._writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
            self.rows += len(self._waiting)
            self._waiting.clear()


def _write_json(file: Path, content: object) -> None:
    """All or nothing: whoever reads `file` finds the old content or the new."""
    fresh = file.with_name(file.name + ".new")
    with open(fresh, "w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=False, indent=1)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def _differing(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str]:
    """What differs between two plans, in words for each."""
    for key in ("source", "options"):
        for name in old[key]:
            if old[key][name] != new[key].get(name):
                return f"{name} {old[key][name]}", str(new[key].get(name))
    return "other classes", "those there are now"


