"""Any source of pictures into a store: `alexnet prepare`.

Every picture is rescaled and cut as section 2 of the paper says (`resize`), by as many processes as there are cores;
this process writes what they return in the order of the source, so that the same source gives the same store, byte
for byte, whatever the number of workers and however often it was interrupted. Mean and covariance come out of the
same pass. Memory holds a few chunks of pictures and never the data set.
"""

import errno
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from math import ceil
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.chunk import Bad, Form, Prepared, Sums, prepare_chunk
from alexnet.data.partial import Partial
from alexnet.data.pictures import Picture, Source, Split
from alexnet.data.resize import JPEG_FROM
from alexnet.data.sources import open_source
from alexnet.data.store import StoreInfo, read_info
from alexnet.progress import Progress

CHUNK = 64  # pictures handed to a worker at a time
CHUNKS_PER_SHARD = 32  # what an interruption costs at most
SHOWN = 10  # skipped pictures listed in a summary; store.json lists all

Map = Callable[[Callable[..., Prepared], Iterable[list[Picture]], Form, bool], Iterator[tuple[list[Picture], Prepared]]]


def prepare(
    source: Path,
    store: Path,
    *,
    size: int = 256,
    workers: int = 0,
    val_fraction: float | None = None,
    seed: int = 0,
    max_bad: float = 0.01,
    quality: int = 95,
    honour_exif: bool = False,
) -> dict[str, Any]:
    """Writes the pictures of `source` to a new store, or goes on where an earlier call was interrupted, or does
    nothing where the store is there and was made from the same source with the same options.

    Returns the counts per split (`splits`: `pictures`, `skipped`), the number of `classes`, `seconds`,
    `pictures_per_second` of this call, the first `skipped_reasons`, the path of the `store`, and whether it was
    `already_there`.

    Raises ValueError, naming the file and the way out, where the source is not understood, more than `max_bad` of the
    pictures cannot be read, `store` is something else, or the disk is full. KeyboardInterrupt carries a sentence.
    """
    _check_options(size, workers, max_bad, quality)
    source, store = Path(source), Path(store)
    form = Form(size, quality, honour_exif)
    options = {**form._asdict(), "val_fraction": val_fraction, "seed": seed}
    if there := _already(source, store, options):
        return _summary(store, there, 0, 0.0) | {"already_there": True}
    opened = open_source(source, val_fraction, seed)
    if opened.kind == "folder" and store.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{store} lies inside {source}, where it would be taken for pictures: choose a place beside it.")
    plan = {
        "source": {"kind": opened.kind, "path": str(source.resolve())},
        "options": options,
        "classes": [list(each) for each in opened.classes],
        "encoding": "jpeg" if size >= JPEG_FROM else "png",
    }
    counts = {name: split.count for name, split in opened.splits.items()}
    began = time.perf_counter()
    with _sentences(store), Partial(store, size, plan) as partial:
        before = sum(partial.seen.values())
        with _workers(_worker_count(workers, counts)) as mapped:
            for name, split in opened.splits.items():
                _prepare_split(name, split, partial, form, mapped, _Limit(max_bad, counts, partial))
        _check_content(opened, partial, max_bad)
        done = sum(partial.seen.values()) - before
        info = partial.finish()
    return _summary(store, info, done, time.perf_counter() - began) | {"already_there": False}


def render(summary: dict[str, Any]) -> RenderableType:
    """The summary, for people."""
    table = Table("split", "pictures", "skipped")
    for name, counts in summary["splits"].items():
        table.add_row(name, f"{counts['pictures']:,}", f"{counts['skipped']:,}")
    if summary["already_there"]:
        end = f"{summary['store']} was prepared from this source already. Delete it to prepare it anew."
    else:
        rate = f"{summary['pictures_per_second']:.0f} pictures per second"
        end = f"{summary['store']}: {summary['classes']} classes, in {summary['seconds']:.0f} s, {rate}."
    reasons = [Text(f"skipped {each['key']}: {each['reason']}") for each in summary["skipped_reasons"]]
    skipped = sum(counts["skipped"] for counts in summary["splits"].values())
    if skipped > len(reasons):
        reasons.append(Text(f"... and {skipped - len(reasons)} more, listed in {Path(summary['store'], 'store.json')}"))
    return Group(table, *reasons, Text(end))


def _prepare_split(name: str, split: Split, partial: Partial, form: Form, mapped: Map, limit: "_Limit") -> None:
    seen = partial.seen.get(name, 0)
    pictures = iter(split)
    _pass_over(pictures, seen, name, partial)
    chunks = mapped(prepare_chunk, _in_lists(pictures, CHUNK), form, name == "train")
    with Progress(f"preparing {name}", total=split.count, unit="pictures", start=seen) as bar:
        while first := next(chunks, None):
            with partial.shard(name) as shard:
                bad: list[Bad] = []
                sums = Sums.none(form.size) if name == "train" else None
                for chunk, prepared in chain([first], islice(chunks, CHUNKS_PER_SHARD - 1)):
                    shard.add(prepared.rows)
                    bad += prepared.bad
                    if sums is not None and prepared.sums is not None:
                        sums.add(prepared.sums)
                    seen, last = seen + len(chunk), chunk[-1].key
                    limit.check(bad)
                    skipped = len(partial.bad) + len(bad)
                    bar.advance(len(chunk), **({"skipped": skipped} if skipped else {}))
                partial.commit(name, shard, bad, sums, seen, last)


def _pass_over(pictures: Iterator[Picture], seen: int, name: str, partial: Partial) -> None:
    """Skips what an earlier call has done, and makes sure that it is still the same."""
    if not seen:
        return
    last = next(islice(pictures, seen - 1, None), None)
    if last is None or last.key != partial.last[name]:
        raise ValueError(
            f"The pictures have changed since {partial.folder} was begun: delete it, then give the command again."
        )


class _Limit:
    """Stops the work as soon as it is certain that too many pictures are bad."""

    def __init__(self, max_bad: float, counts: dict[str, int | None], partial: Partial) -> None:
        self.max_bad, self.partial = max_bad, partial
        known = [count for count in counts.values() if count is not None]
        self.total = sum(known) if len(known) == len(counts) else None

    def check(self, bad: list[Bad]) -> None:
        everything = self.partial.bad_pictures + bad
        if self.total is not None and len(everything) > self.max_bad * self.total:
            raise _too_many(everything, f"{self.total:,}", self.max_bad)


def _check_content(source: Source, partial: Partial, max_bad: float) -> None:
    bad, seen = partial.bad_pictures, sum(partial.seen.values())
    if len(bad) > max_bad * seen:
        raise _too_many(bad, f"{seen:,}", max_bad)
    for name in source.splits:
        if not any(shard["split"] == name for shard in partial.shards):
            raise ValueError(f"{source.path} has no picture for {name} that can be read.")


def _too_many(bad: list[Bad], of: str, max_bad: float) -> ValueError:
    listed = "\n".join(f"  {each.key}: {each.reason}" for each in bad[:SHOWN])
    more = f"\n  ... and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return ValueError(
        f"{len(bad)} of {of} pictures cannot be read, more than the {max_bad:.3g} that --max-bad allows; mend or "
        f"delete them, or go on without them with a larger --max-bad:\n{listed}{more}"
    )


@contextmanager
def _workers(count: int) -> Iterator[Map]:
    """A function that maps chunks of pictures in order, in this process or in `count` others, a few chunks ahead."""
    if count == 1:
        yield lambda work, chunks, *rest: ((chunk, work(chunk, *rest)) for chunk in chunks)
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin_worker)

    def mapped(
        work: Callable[..., Prepared], chunks: Iterable[list[Picture]], form: Form, summed: bool
    ) -> Iterator[tuple[list[Picture], Prepared]]:
        waiting: deque[tuple[list[Picture], Future[Prepared]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, pool.submit(work, chunk, form, summed)))
            if len(waiting) > 2 * count:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()

    try:
        yield mapped
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C is the first process's to handle; and when that one is killed, so are its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _worker_count(asked: int, counts: dict[str, int | None]) -> int:
    """No more processes than there are chunks to deal out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = max(CHUNKS_PER_SHARD if count is None else ceil(count / CHUNK) for count in counts.values())
    return max(1, min(asked or cores, most))


@contextmanager
def _sentences(store: Path) -> Iterator[None]:
    """Says what happened and how to go on."""
    again = "the same command goes on where it was"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped; {again}.") from None
    except BrokenProcessPool:
        raise ValueError(
            f"A worker process was killed, perhaps for want of memory: {again}, and --workers 1 needs least. (A script "
            'that calls prepare() needs `if __name__ == "__main__":` around it.)'
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(f"There is no space left for {store}.partial: free some, {again}.") from None


def _already(source: Path, store: Path, options: dict[str, Any]) -> StoreInfo | None:
    """What is known of the store where it is whole and comes from the same source and options."""
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return None
    if not (store / "store.json").is_file():
        raise ValueError(f"{store} exists and is not a store: choose another name.")
    info = read_info(store)
    if info["source"]["path"] == str(source.resolve()) and info["options"] == options:
        return info
    raise ValueError(
        f"{store} exists, prepared from {info['source']['path']} with {_words(info['options'])}: delete it, or "
        "choose another name."
    )


def _words(options: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items() if value is not None)


def _summary(store: Path, info: StoreInfo, done: int, seconds: float) -> dict[str, Any]:
    return {
        "store": str(store),
        "splits": info["splits"],
        "classes": len(info["classes"]),
        "seconds": seconds,
        "pictures_per_second": done / seconds if seconds else 0.0,
        "skipped_reasons": info["skipped"][:SHOWN],
    }


def _check_options(size: int, workers: int, max_bad: float, quality: int) -> None:
    if not 1 <= size <= 4096:
        raise ValueError(f"--size is {size}: give a number of pixels from 1 to 4096.")
    if workers < 0:
        raise ValueError(f"--workers is {workers}: give how many processes shall work, or 0 for one per core.")
    if not 0 <= max_bad <= 1:
        raise ValueError(f"--max-bad is {max_bad}: give the part of the pictures that may be bad, from 0 to 1.")
    if not 1 <= quality <= 100:
        raise ValueError(f"--quality is {quality}: give a JPEG quality from 1 to 100.")


def _in_lists(pictures: Iterable[Picture], length: int) -> Iterator[list[Picture]]:
    pictures = iter(pictures)
    while chunk := list(islice(pictures, length)):
        yield chunk


