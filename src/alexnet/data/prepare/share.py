"""Several processes that torchrun started prepare one store, each its share of the shards, on a disk that all see.

Rank r of N makes every Nth shard, from the rth on, in a folder of its own; the first rank waits for the others and
puts the shards together, so that the store is the same, byte for byte, as one process makes. It needs no torch: the
ranks find each other by their folders. Interrupted, each goes on where it was.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.data.prepare.partial import Partial, Placed
from alexnet.data.sources.source import LabelledImage, Split

DONE = "done"
SECONDS_BETWEEN_LOOKS = 0.2


class Share(NamedTuple):
    """Which of how many processes this one is."""

    rank: int
    count: int
    on_this_machine: int
    """How many of them use this machine's cores."""

    @classmethod
    def of_torchrun(cls) -> "Share":
        """From the environment that torchrun makes; alone without it."""
        rank, count, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_WORLD_SIZE", "1"))
        )
        return cls(rank, count, local)

    def store(self, store: Path, rank: int) -> Path:
        """Where a rank's own shards go, as if they were a store (its `.partial` folder is what there is)."""
        return store.with_name(f"{store.name}.rank-{rank}-of-{self.count}")

    def of(self, split: Split, per_shard: int) -> Split:
        """This rank's images of a split: every shard's worth of `per_shard` that falls to it."""

        def mine(index: int) -> bool:
            return index // per_shard % self.count == self.rank

        def images() -> Iterator[LabelledImage]:
            return (image for index, image in enumerate(split) if mine(index))

        def count() -> int | None:
            return None if split.count is None else sum(map(mine, range(split.count)))

        return Split(images, count)


def say_done(partial: Partial) -> None:
    """Tell the first rank that this share is whole."""
    (partial.folder / DONE).touch()


def put_together(share: Share, store: Path, size: int, plan: dict[str, Any], splits: list[str]) -> Partial:
    """Wait for all shares and link their shards into one unfinished store, in the order of the source.

    ValueError where a share was made from another source or with other options.
    """
    parts = [Partial(share.store(store, rank), size, plan) for rank in range(share.count)]
    for part in parts:
        while not (part.folder / DONE).exists():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        part.take_up()
    whole = Partial(store, size, plan)
    shutil.rmtree(whole.folder, ignore_errors=True)
    whole.folder.mkdir(parents=True)
    for split in splits:
        if any(split in part.seen for part in parts):
            whole.seen[split] = sum(part.seen.get(split, 0) for part in parts)

        def place(rank_and_entry: tuple[int, Placed]) -> int:
            rank, entry = rank_and_entry
            return entry.place * share.count + rank

        shards = [(r, entry) for r, part in enumerate(parts) for entry in part.placed if entry.what["split"] == split]
        for number, (rank, entry) in enumerate(sorted(shards, key=place)):
            name = f"{split}-{number:05}.arrow"
            link(parts[rank].folder / entry.what["file"], whole.folder / name)
            whole.shards.append(entry.what | {"file": name})  # type: ignore[arg-type]
        bad = [(r, entry) for r, part in enumerate(parts) for entry in part.placed_bad if entry.what["split"] == split]
        whole.bad += [entry.what for _, entry in sorted(bad, key=place)]
    for part in parts:
        whole.sums.add(part.sums)
    return whole


def clean_up(share: Share, store: Path) -> None:
    """Delete the folders of all ranks, when the store is whole."""
    for rank in range(share.count):
        shutil.rmtree(Partial(share.store(store, rank), 1, {}).folder, ignore_errors=True)


def wait_for(store: Path) -> None:
    """Wait until the first rank has given the store its name. (When it fails, torchrun ends the others.)"""
    while not (store / "store.json").exists():
        time.sleep(SECONDS_BETWEEN_LOOKS)


def link(file: Path, to: Path) -> None:
    """The same file under another name too; a copy on file systems without links."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)
