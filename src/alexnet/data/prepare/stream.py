"""The images of a source as a stream of chunks, and their results written to shards in the order of the source."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path

from alexnet.data.prepare import chunk as chunks
from alexnet.data.prepare.chunk import Chunk, ImageOptions, Prepared, Skipped
from alexnet.data.prepare.partial import PartialStore
from alexnet.data.prepare.pool import Pool
from alexnet.data.sources.source import LabelledImage, Split
from alexnet.data.store.statistics import Sums
from alexnet.progress import Progress


def write_shards(
    splits: Mapping[str, Split],
    store: PartialStore,
    options: ImageOptions,
    pool: Pool,
    check: Callable[[list[Skipped], int], None],
    silent: bool,
) -> None:
    """Write the shards that `store` does not have yet. `check` gets all skipped images, and the number of images of
    this split that are done, and may raise.

    There is one stream of chunks for all splits: while the last ones of a split are in work, no worker is idle.
    """
    results = pool.map(partial(chunks.prepare_chunk, options=options), pending_chunks(splits, store))
    skipped = [Skipped(each["key"], each["reason"]) for _, each in store.skipped]
    before = Counter(each["split"] for _, each in store.skipped)
    for split, of_split in groupby(results, lambda result: result[0].split):
        done = store.done.get(split, 0)
        of_others = len(skipped) - before[split]
        with Progress(f"preparing {split}", total=splits[split].count, start=done, silent=silent) as bar:

            def advance(done: int, images: int, bar: Progress = bar, of_others: int = of_others) -> None:
                check(skipped, done)
                of_this = len(skipped) - of_others
                bar.advance(images, **({"skipped": of_this} if of_this else {}))

            for of_shard in _by_shard(of_split):
                done = _write_shard(split, of_shard, store, done, skipped, Sums.zeros(options.size), advance)
    store.wait()


def _by_shard(results: Iterator[tuple[Chunk, Prepared]]) -> Iterator[Iterator[tuple[Chunk, Prepared]]]:
    """The results of each shard, to be taken one shard after the other."""
    for first in results:
        yield chain([first], islice(results, chunks.CHUNKS_PER_SHARD - 1))


def _write_shard(
    split: str,
    results: Iterable[tuple[Chunk, Prepared]],
    store: PartialStore,
    done: int,
    skipped: list[Skipped],
    sums: Sums,
    advance: Callable[[int, int], None],
) -> int:
    """Write the next shard of `split`, which has `done` images; return how many it has then.

    Adds to `skipped` and `sums`. `advance` gets the images that are done, and those of each chunk.
    """
    before, last = len(skipped), ""
    with store.new_shard(split) as shard:
        for chunk, prepared in results:
            shard.add(prepared.rows)
            skipped += prepared.skipped
            if prepared.sums is not None:
                sums.add(prepared.sums)
            done, last = done + len(chunk.images), chunk.images[-1].key
            advance(done, len(chunk.images))
        store.commit(split, shard, skipped[before:], sums, done, last)
    return done


def pending_chunks(splits: Mapping[str, Split], store: PartialStore) -> Iterator[Chunk]:
    """All that `store` does not have yet, split by split. ValueError where the source has changed."""
    for name, split in splits.items():
        images = iter(split)
        _skip_done(images, store.done.get(name, 0), store.last.get(name), store.folder)
        while some := list(islice(images, chunks.IMAGES_PER_CHUNK)):
            yield Chunk(name, some)


def _skip_done(images: Iterator[LabelledImage], done: int, last: str | None, folder: Path) -> None:
    """Skip the images that an earlier call has done, and check that the last of them is still the same."""
    if done:
        image = next(islice(images, done - 1, None), None)
        if image is None or image.key != last:
            raise ValueError(f"The images have changed since {folder} was started: delete it and start over.")
