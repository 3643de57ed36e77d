"""Any source of images into a store: `alexnet prepare`.

Every image is rescaled and cut as section 2 of the paper says (`resize`), by as many workers as there are
cores. This thread writes what they return in the order of the source, so that the same source gives the same
store, byte for byte, whatever the number of workers and however often it was interrupted. Mean and covariance
come out of the same pass. Memory holds a few chunks of images and never the data set.

The workers are threads, which start at once; for many images they are processes, which share no lock.
"""

import errno
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from functools import partial as bind
from itertools import chain, groupby, islice
from math import ceil, inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.image import pixels
from alexnet.data.image.encode import JPEG_MIN_SIZE
from alexnet.data.prepare.chunk import Bad, Form, Prepared, prepare_chunk
from alexnet.data.prepare.partial import Partial
from alexnet.data.prepare.pool import Pool
from alexnet.data.prepare.share import Share, clean_up, put_together, say_done, wait_for
from alexnet.data.sources import open_source
from alexnet.data.sources.names import some
from alexnet.data.sources.source import LabelledImage, Split
from alexnet.data.store.info import StoreInfo, read_info
from alexnet.data.store.reader import Store
from alexnet.data.store.statistics import Sums
from alexnet.native.processor import cores
from alexnet.progress import Progress

CHUNK = 32  # images that a worker is handed at a time
CHUNKS_PER_SHARD = 64  # 2048 images: what an interruption costs at most, but for those on their way to the disk
PROCESSES_FROM = 20_000  # images: fewer are done by threads before processes have paid for their start
SEEN_BEFORE_STOPPING = 200  # fewer images are gone through to the end, to list all that are bad
LISTED = 10  # bad images that a summary or a message lists


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
    """Writes the images of `source` to a new store; goes on where an earlier call was interrupted; does
    nothing where the store is there already, made from the same source with the same options.

    Returns the counts per split (`splits`: `images`, `skipped`), the number of `classes`, the names of the
    `empty_classes` that have no training image, the first of the `skipped_reasons`, the path of the `store`,
    whether it was `already_there`, and of this call the `seconds` and `images_per_second`.

    Raises ValueError, naming the file and the way out, where the source is not understood, more than
    `max_bad` of its images cannot be read, `store` is something else, or the disk is full.
    Under torchrun every rank calls this, and each makes its share.
    KeyboardInterrupt and ValueError both leave STORE.partial, with which the same call goes on;
    KeyboardInterrupt says so in its text.
    """
    source, store = Path(source), Path(store)
    _check_options(size, workers, max_bad, quality)
    form = Form(size, quality, honour_exif)
    options = {**form._asdict(), "val_fraction": val_fraction, "seed": seed}
    if there := _already_there(source, store, options):
        return _summary(store, there, 0, 0.0) | {"already_there": True}
    opened = open_source(source, val_fraction, seed)
    if opened.takes_every_file and store.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{store} lies in {source}, where it would be taken for a class: choose another place.")
    plan = {
        "source": {"kind": opened.kind, "path": str(source.resolve())},
        "options": options,
        "classes": [list(each) for each in opened.classes],
        "encoding": "jpeg" if size >= JPEG_MIN_SIZE else "png",
    }
    counts = [split.count for split in opened.splits.values()]
    allowed = inf if None in counts else max_bad * sum(count or 0 for count in counts)
    share = Share.of_torchrun()
    began = time.perf_counter()
    with _in_sentences(store), ExitStack() as held:
        partial = held.enter_context(Partial(store if share.count == 1 else share.store(store, share.rank), size, plan))
        done_before = sum(partial.seen.values())
        pixels.library()  # built now, not by all workers at once
        mine = {
            name: split if share.count == 1 else share.of(split, CHUNK * CHUNKS_PER_SHARD)
            for name, split in opened.splits.items()
        }
        threads = None not in counts and sum(count or 0 for count in counts) < PROCESSES_FROM
        with Pool(_worker_count(workers, counts, share), threads) as pool:
            _prepare_splits(mine, partial, form, pool, allowed, silent=share.rank > 0)
        done = sum(partial.seen.values())
        if share.count > 1:
            say_done(partial)
            if share.rank > 0:
                wait_for(store)
                return _summary(store, read_info(store), done - done_before, time.perf_counter() - began)
            partial = put_together(share, store, size, plan, list(opened.splits))
        bad = [Bad(each["key"], each["reason"]) for each in partial.bad]
        _check_bad(bad, max_bad * sum(partial.seen.values()), partial)
        for name in opened.splits:
            if not any(shard["split"] == name for shard in partial.shards):
                raise ValueError(f"No image of the {name} split of {source} can be read.")
        info = partial.finish()
        if share.count > 1:
            done = sum(partial.seen.values())
            clean_up(share, store)
    return _summary(store, info, done - done_before, time.perf_counter() - began)


def render(summary: dict[str, Any]) -> RenderableType:
    """The summary, for people."""
    table = Table("split", "images", "skipped")
    for name, counts in summary["splits"].items():
        table.add_row(name, f"{counts['images']:,}", f"{counts['skipped']:,}")
    lines = [f"skipped {each['key']}: {each['reason']}" for each in summary["skipped_reasons"]]
    more = sum(counts["skipped"] for counts in summary["splits"].values()) - len(lines)
    if more:
        lines.append(f"... and {more:,} more, listed in {Path(summary['store'], 'store.json')}")
    if empty := summary["empty_classes"]:
        lines.append(f"No image to train on in {some(empty)}: nothing can be learned of such a class.")
    if summary["already_there"]:
        lines.append(f"{summary['store']} is there already, from this source. Delete it to prepare it anew.")
    else:
        rate = f"{summary['images_per_second']:.0f} images per second"
        lines.append(f"{summary['store']}: {summary['classes']} classes, {summary['seconds']:.0f} s, {rate}.")
    return Group(table, *(Text(line) for line in lines))


class Part(NamedTuple):
    """What a worker is handed: some images of a split."""

    split: str
    images: list[LabelledImage]


def _prepare_splits(
    splits: dict[str, Split], partial: Partial, form: Form, pool: Pool, allowed: float, silent: bool
) -> None:
    """Writes the shards that are not there yet; more than `allowed` bad images stop it.

    One stream of parts for all splits: while the last of one are worked on, no worker waits for the next split.
    """
    results = pool.map(bind(_work, form=form), _parts(splits, partial))
    bad = [Bad(each["key"], each["reason"]) for each in partial.bad]
    for name, of_split in groupby(results, lambda result: result[0].split):
        seen = partial.seen.get(name, 0)
        with Progress(f"preparing {name}", total=splits[name].count, start=seen, silent=silent) as bar:
            for first in of_split:
                with partial.shard(name) as shard:
                    bad_before, sums = len(bad), Sums.zeros(form.size)
                    for part, prepared in chain([first], islice(of_split, CHUNKS_PER_SHARD - 1)):
                        shard.add(prepared.rows)
                        bad += prepared.bad
                        if prepared.sums is not None:
                            sums.add(prepared.sums)
                        seen, last = seen + len(part.images), part.images[-1].key
                        if seen >= SEEN_BEFORE_STOPPING:
                            _check_bad(bad, allowed, partial)
                        bar.advance(len(part.images), **({"skipped": len(bad)} if bad else {}))
                    partial.commit(name, shard, bad[bad_before:], sums, seen, last)
    partial.wait()


def _work(part: Part, form: Form) -> Prepared:
    return prepare_chunk(part.images, form, part.split == "train")


def _parts(splits: dict[str, Split], partial: Partial) -> Iterator[Part]:
    """What is not done yet of all splits, in order."""
    for name, split in splits.items():
        images = iter(split)
        _pass_over(images, partial.seen.get(name, 0), partial.last.get(name), partial.folder)
        while chunk := list(islice(images, CHUNK)):
            yield Part(name, chunk)


def _pass_over(images: Iterator[LabelledImage], seen: int, last: str | None, folder: Path) -> None:
    """Skips what an earlier call has done, and makes sure that it is still the same."""
    if seen:
        image = next(islice(images, seen - 1, None), None)
        if image is None or image.key != last:
            raise ValueError(f"The images have changed since {folder} was begun: delete it and begin again.")


def _check_bad(bad: list[Bad], allowed: float, partial: Partial) -> None:
    """Stops the work where more than `allowed` images are bad."""
    if len(bad) <= allowed:
        return
    file = partial.folder / "skipped.txt"
    lines = [f"{each.key}: {each.reason}" for each in bad]
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    more = [f"... and {len(lines) - LISTED:,} more, listed in {file}"] if len(lines) > LISTED else []
    raise ValueError(
        f"{len(bad):,} images cannot be read, and --max-bad allows {int(allowed):,}. Mend them and delete "
        f"{partial.folder}, or go on without them: the same command with a larger --max-bad.\n"
        + "\n".join(f"  {line}" for line in lines[:LISTED] + more)
    )


def _worker_count(asked: int, counts: Sequence[int | None], share: Share) -> int:
    """No more processes than there are chunks to deal out, and no more in all than there are cores."""
    chunks = [CHUNKS_PER_SHARD if count is None else ceil(count / CHUNK) for count in counts]
    return max(1, min(asked or cores() // share.on_this_machine, max(chunks)))


@contextmanager
def _in_sentences(store: Path) -> Iterator[None]:
    """Says of what stops the work from outside how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it was") from None
    except BrokenProcessPool:
        raise ValueError(
            "A worker process was killed, perhaps for want of memory. The same command goes on where it was, "
            "and with --workers 1 it needs least memory. (A script that calls prepare() needs the usual "
            'if __name__ == "__main__".)'
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(
            f"No space is left for {store}.partial: free some, then the same command goes on where it was."
        ) from None


def _already_there(source: Path, store: Path, options: dict[str, Any]) -> StoreInfo | None:
    """What is known of the store where there is one, from the same source with the same options."""
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return None
    if not (store / "store.json").is_file():
        raise ValueError(f"{store} exists and is not a store: choose another name.")
    info = read_info(store)
    if info["source"]["path"] == str(source.resolve()) and info["options"] == options:
        return info
    given = [f"{name.replace('_', ' ')} {value}" for name, value in info["options"].items() if value is not None]
    raise ValueError(
        f"{store} exists, made from {info['source']['path']} with {', '.join(given)}: "
        "choose another name, or delete it."
    )


def _summary(store: Path, info: StoreInfo, done: int, seconds: float) -> dict[str, Any]:
    return {
        "store": str(store),
        "splits": info["splits"],
        "classes": len(info["classes"]),
        "already_there": False,
        "empty_classes": _empty_classes(Store(store)),
        "seconds": seconds,
        "images_per_second": done / seconds if seconds else 0.0,
        "skipped_reasons": info["skipped"][:LISTED],
    }


def _empty_classes(store: Store) -> list[str]:
    """Names of the classes without a training image."""
    there = np.bincount(store.split("train").labels, minlength=len(store.classes))
    return [each.name for each, count in zip(store.classes, there, strict=True) if count == 0]


def _check_options(size: int, workers: int, max_bad: float, quality: int) -> None:
    if not 1 <= size <= 4096:
        raise ValueError(f"--size is {size}: give a number of pixels from 1 to 4096.")
    if workers < 0:
        raise ValueError(f"--workers is {workers}: give a number of processes, or 0 for one per core.")
    if not 0 <= max_bad <= 1:
        raise ValueError(f"--max-bad is {max_bad}: give the part of the images that may be bad, from 0 to 1.")
    if not 1 <= quality <= 100:
        raise ValueError(f"--quality is {quality}: give a JPEG quality from 1 to 100.")
