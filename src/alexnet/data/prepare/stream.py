"""The images of a source as a stream of chunks, and their results written to shards in the order of the source."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain, groupby, islice
from pathlib import Path

from alexnet.data.prepare import chunk as chunks
from alexnet.data.prepare.chunk import Chunk, ImageOptions, Skipped
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
    for split, of_split in groupby(results, lambda result: result[0].split):
        done = store.done.get(split, 0)
        with Progress(f"preparing {split}", total=splits[split].count, start=done, silent=silent) as bar:
            for first in of_split:
                with store.new_shard(split) as shard:
                    before, sums = len(skipped), Sums.zeros(options.size)
                    for chunk, prepared in chain([first], islice(of_split, chunks.CHUNKS_PER_SHARD - 1)):
                        shard.add(prepared.rows)
                        skipped += prepared.skipped
                        if prepared.sums is not None:
                            sums.add(prepared.sums)
                        done, last = done + len(chunk.images), chunk.images[-1].key
                        check(skipped, done)
                        bar.advance(len(chunk.images), **({"skipped": len(skipped)} if skipped else {}))
                    store.commit(split, shard, skipped[before:], sums, done, last)
    store.wait()


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
