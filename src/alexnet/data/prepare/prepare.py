"""Prepares any source of images into a store: `alexnet prepare`.

Every image is rescaled and cropped as section 2 of the paper says, by as many workers as there are cores. This process
writes their results in the order of the source: the same source gives the same store, byte for byte, whatever the
number of workers and however often it was interrupted. Mean and covariance are computed in the same pass. Memory holds
a few chunks of images, never the data set.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from alexnet.data.image import pixels
from alexnet.data.image.encode import encoding
from alexnet.data.prepare import chunk
from alexnet.data.prepare.checks import (
    allowed_bad,
    check_location,
    check_skipped,
    check_splits,
    check_unchanged,
    find_existing,
)
from alexnet.data.prepare.chunk import ImageOptions, Skipped
from alexnet.data.prepare.partial import PartialStore
from alexnet.data.prepare.pool import Pool
from alexnet.data.prepare.share import Share, delete_shares, mark_finished, merge, wait_for
from alexnet.data.prepare.stream import write_shards
from alexnet.data.prepare.summary import summarise
from alexnet.data.sources import open_source
from alexnet.data.sources.source import Choices, Source
from alexnet.data.store.info import StoreInfo, read_info
from alexnet.files import durable
from alexnet.native.processor import cores
from alexnet.ranges import Fraction, FractionOfSome, Quality, Seed, StoredPixels, Threads, checked

MIN_IMAGES_FOR_PROCESSES = 20_000
"""Threads are done with fewer images before processes have paid for their start."""
MIN_IMAGES_BEFORE_STOPPING = 200
"""Of fewer images all are tried, so that all unreadable ones are listed."""


@checked
def prepare(
    source: Path,
    store: Path,
    *,
    size: StoredPixels = 256,
    workers: Threads = 0,
    val_fraction: FractionOfSome | None = None,
    seed: Seed = 0,
    max_bad: Fraction = 0.01,
    quality: Quality = 95,
    honour_exif: bool = False,
    image_column: str | None = None,
    label_column: str | None = None,
    labels: Path | None = None,
) -> dict[str, Any]:
    """Write the images of `source` to a new store.

    Resume where an earlier call was interrupted, and do nothing where the store exists, made from the same source with
    the same options. Under torchrun every rank calls this, and each makes its share.

    Returns the counts per split (`splits`: `images`, `skipped`), the number of `classes`, the images of each class by
    wnid and split (`class_images`) and their `class_names`, the `smallest_class` and the `largest_class` of the
    training split (`wnid`, `name`, `images`), the names of the `empty_classes` that have no training image, how many
    files were `left_out` and `remarks` about that, how many images are `in_both_splits` with `examples`, the first of
    the `skipped_reasons`, the path of the `store`, whether it was `already_there`, and of this call the `seconds` and
    `images_per_second`.

    Raises ValueError, naming the file and what to do, where the source is not understood or has changed since `store`
    was made, more than the fraction `max_bad` of its images (rounded up) cannot be read, `store` is something else, or
    the disk is full. This and KeyboardInterrupt leave STORE.partial, which the same call resumes.
    """
    source, store = Path(source), Path(store)
    image_options = ImageOptions(size, quality, honour_exif)
    choices = Choices(val_fraction, seed, image_column, label_column, None if labels is None else str(labels))
    options = {**image_options._asdict(), **choices._asdict()}
    existing = find_existing(source, store, options)
    if existing and not source.exists():  # as it was moved away once the store was made
        return summarise(store, existing) | {"already_there": True}
    opened = open_source(source, *choices)
    if existing:
        check_unchanged(store, existing, opened)
        return summarise(store, existing) | {"already_there": True}
    check_location(store, opened)
    contents = opened.contents
    plan = {
        "source": {
            "kind": opened.kind,
            "path": str(source.resolve()),
            "images": contents.images,
            "sha256": contents.sha256,
            "left_out": contents.left_out,
            "remarks": [*opened.remarks, *([f"No images: {contents.named}"] if contents.named else [])],
        },
        "options": options,
        "classes": [list(each) for each in opened.classes],
        "encoding": encoding(size),
    }
    start = time.perf_counter()
    with _explained(store):
        info, images = _write_store(store, opened, plan, image_options, workers, max_bad)
    if images is None:
        return summarise(store, info) | {"already_there": True}
    return summarise(store, info, images, time.perf_counter() - start)


def _write_store(
    store: Path, source: Source, plan: dict[str, Any], options: ImageOptions, workers: int, max_bad: float
) -> tuple[StoreInfo, int | None]:
    """Returns the content of `store.json`, and how many images were done; None where another process did it all."""
    counts = [split.count for split in source.splits.values()]
    total = sum(count or 0 for count in counts)
    share = Share.of_torchrun()
    with PartialStore(share.store(store), options.size, plan) as partial:
        if share.count == 1 and (made := find_existing(source.path, store, plan["options"])):
            return made, None  # while this process looked at the source
        done_before = sum(partial.done.values())
        pixels.library()  # built now, not by all workers at once

        def check(skipped: list[Skipped], done: int) -> None:
            if None not in counts and done >= MIN_IMAGES_BEFORE_STOPPING:
                check_skipped(skipped, allowed_bad(max_bad, total), partial)

        splits = {
            name: share.of(split, chunk.IMAGES_PER_CHUNK * chunk.CHUNKS_PER_SHARD)
            for name, split in source.splits.items()
        }
        threads = None not in counts and total < MIN_IMAGES_FOR_PROCESSES
        with Pool(_worker_count(workers, counts, share), threads) as pool:
            write_shards(splits, partial, options, pool, check, silent=share.rank > 0)
        whole = partial
        if share.count > 1:
            mark_finished(partial)
            if share.rank > 0:
                wait_for(store)
                return read_info(store), sum(partial.done.values()) - done_before
            whole = merge(share, store, options.size, plan, list(source.splits))
        done = sum(whole.done.values())
        check_skipped(
            [Skipped(each["key"], each["reason"]) for _, each in whole.skipped], allowed_bad(max_bad, done), whole
        )
        check_splits(whole, source)
        info = whole.finish()
        if share.count > 1:
            delete_shares(share, store)
    return info, done - done_before


def _worker_count(asked: int, counts: Sequence[int | None], share: Share) -> int:
    """At most one worker per chunk, and at most one per core of this machine for all ranks together."""
    chunks = [chunk.CHUNKS_PER_SHARD if count is None else ceil(count / chunk.IMAGES_PER_CHUNK) for count in counts]
    return max(1, min(asked or cores() // share.on_this_machine, max(chunks)))


@contextmanager
def _explained(store: Path) -> Iterator[None]:
    """Turn what stops the work from outside into messages that say how to resume."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command resumes it") from None
    except BrokenProcessPool:
        raise ValueError(
            "A worker process was killed, perhaps because memory ran out. The same command resumes; with --workers 1 "
            'it needs the least memory. (A script that calls prepare() needs the usual if __name__ == "__main__".)'
        ) from None
    except OSError as error:
        if not durable.is_full(error):
            raise
        raise ValueError(
            f"No space is left for {store}.partial: free some, then run the same command, which resumes."
        ) from None
