"""Several processes started by torchrun prepare one store, each a share of the shards, on a disk that all can see.

Rank r of N makes every Nth shard, starting with the rth, in a folder of its own. Rank 0 waits for the others and merges
the shards; the store is, byte for byte, what one process makes. No torch is needed: the ranks find each other by their
folders. After an interruption, each resumes.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.data.prepare.doubles import digests_of
from alexnet.data.prepare.partial import PartialStore
from alexnet.data.sources.source import LabelledImage, Split

FINISHED = "finished"
"""The file that tells rank 0 that a share is complete."""
POLL_SECONDS = 0.2


class Share(NamedTuple):
    """Which of how many processes this one is."""

    rank: int
    count: int
    on_this_machine: int
    """How many of them use this machine's cores."""

    @classmethod
    def of_torchrun(cls) -> "Share":
        """From torchrun's environment variables; without them, this process is alone."""
        rank, count, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_WORLD_SIZE", "1"))
        )
        return cls(rank, count, local)

    def store(self, store: Path, rank: int | None = None) -> Path:
        """The store that a rank (this one by default) writes: `store` itself where there is only one."""
        rank = self.rank if rank is None else rank
        return store if self.count == 1 else store.with_name(f"{store.name}.rank-{rank}-of-{self.count}")

    def of(self, split: Split, per_shard: int) -> Split:
        """This rank's images of a split, whose shards have `per_shard` images each."""
        if self.count == 1:
            return split

        def is_mine(index: int) -> bool:
            return index // per_shard % self.count == self.rank

        def images() -> Iterator[LabelledImage]:
            return (image for index, image in enumerate(split) if is_mine(index))

        def count() -> int | None:
            return None if split.count is None else sum(map(is_mine, range(split.count)))

        return Split(images, count)


def mark_finished(share: PartialStore) -> None:
    """Tell rank 0 that this share is complete."""
    (share.folder / FINISHED).touch()


def merge(share: Share, store: Path, size: int, plan: dict[str, Any], splits: list[str]) -> PartialStore:
    """Wait for all shares and link their shards into one unfinished store, in the order of the source.

    Raises ValueError where a share was made from another source or with other options.
    """
    parts = [PartialStore(share.store(store, rank), size, plan) for rank in range(share.count)]
    for part in parts:
        while not (part.folder / FINISHED).exists():
            time.sleep(POLL_SECONDS)
        part.resume()
    whole = PartialStore(store, size, plan)
    shutil.rmtree(whole.folder, ignore_errors=True)
    whole.folder.mkdir(parents=True)
    for split in splits:
        if any(split in part.done for part in parts):
            whole.done[split] = sum(part.done.get(split, 0) for part in parts)
        # Commit n of rank r is commit n * count + r of one process.
        shards = [
            (number * share.count + rank, rank, shard)
            for rank, part in enumerate(parts)
            for number, shard in part.shards
            if shard["split"] == split
        ]
        for index, (number, rank, shard) in enumerate(sorted(shards, key=lambda each: each[0])):
            file = f"{split}-{index:05}.arrow"
            _link(parts[rank].folder / shard["file"], whole.folder / file)
            _link(digests_of(parts[rank].folder, shard["file"]), digests_of(whole.folder, file))
            whole.shards.append((number, {**shard, "file": file}))
        skipped = [
            (number * share.count + rank, each)
            for rank, part in enumerate(parts)
            for number, each in part.skipped
            if each["split"] == split
        ]
        whole.skipped += sorted(skipped, key=lambda each: each[0])
    for part in parts:
        whole.sums.add(part.sums)
    return whole


def delete_shares(share: Share, store: Path) -> None:
    """Delete the folders of all ranks, once the store is whole."""
    for rank in range(share.count):
        shutil.rmtree(PartialStore(share.store(store, rank), 1, {}).folder, ignore_errors=True)


def wait_for(store: Path) -> None:
    """Wait until rank 0 has given the store its name. (If rank 0 fails, torchrun ends the others.)"""
    while not (store / "store.json").exists():
        time.sleep(POLL_SECONDS)


def _link(file: Path, to: Path) -> None:
    """A second name for a file; a copy on file systems without links."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)
