"""Features: the activations of any layers, written as arrays, with what they are of beside them.

Images are seen as in testing with one view, or as `resizing` says: resized, cut to the centre, mean removed.
"""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.store.reader import Store
from alexnet.files import durable
from alexnet.files.checksums import checksum
from alexnet.files.rows import RowFile
from alexnet.files.words import counted
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.ranges import BatchSize, Seed, checked
from alexnet.study import feature_files
from alexnet.study.activations import activations, centre_views, parse_layers
from alexnet.study.doubts import at_chance
from alexnet.study.feature_rows import PartialRows, Read, all_of, partial_rows, watch
from alexnet.study.image_batches import ImageBatch, Rows, open_images
from alexnet.study.outputs import check_output, check_some, warn
from alexnet.study.random_weights import randomise, warn_if_random
from alexnet.study.resizing import Resize, in_words
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import meeting, ranks
from alexnet.training.checkpoint_file import WEIGHTS, Checkpoint
from alexnet.training.ranks import Ranks
from alexnet.training.run_folder import fingerprint

Bad = Literal["nan", "skip"]


@checked
def features(
    run: Path,
    source: Path,
    out: Path,
    *,
    layer: str = "fc7",
    split: str | None = None,
    resize: Resize = "crop",
    bad: Bad = "nan",
    checkpoint: str = "best",
    random_weights: Seed | None = None,
    device: str = "auto",
    batch_size: BatchSize = 64,
    force: bool = False,
) -> dict[str, Any]:
    """Write the outputs of a layer (or of several, separated by commas, or `all`) for all images of `source`.

    `source` is a store, any source that `prepare` reads, a folder of images, a list of them, or an image. `split`
    chooses one split of it; None takes all, one after the other. `out` ends in

    - `.npy`: float32 [N, ...shape of the layer]; for several layers `OUT.conv5.npy`, `OUT.fc7.npy` ...
    - `.npz`: all layers by name, uncompressed, with `keys` and `wnids`
    - `.h5`: the same as datasets, chunked by rows

    Beside it stand `OUT.json` (see `description`), `OUT.keys.txt`, the name of each image, one line per row, and
    `OUT.wnids.txt`, its class, where the source has classes; over other files if `force`. Arrays may be larger than
    memory: all is written in parts, and appears when it is whole. After an interruption the same call resumes from
    `OUT.part`. The row of an image that cannot be read is NaN, or with `bad` "skip" there is none. Under torchrun each
    rank computes its part of the rows.

    `checkpoint` is `best`, `last` or a step; with `random_weights` the network has the initial weights of that seed
    instead, as a control.

    Returns `checkpoint` (None for a control), `random_weights` (why the weights are or look random, or None), `images`,
    `keys`, `wnids`, `description`, `files` (for each layer its `path` and `shape`), `skipped` (`key` and `error` of
    each image that cannot be read) and `warnings`. Raises ValueError for an unknown layer or ending, where no image can
    be read, and when the disk has no room for the result.
    """
    kernels.reuse_memory()
    beside = beside_of(out)
    net, files = meeting.meet(lambda: _prepare(run, out, layer, device, checkpoint, [*beside.values()], force))
    if random_weights is not None:
        randomise(net, random_weights)
        why: str | None = f"they are the initial weights of seed {random_weights}, as asked"
    else:
        why = warn_if_random(net, run)
    layers = list(files)
    about = description(net, run, source, split, resize, random_weights, bad)
    with ranks.sharing() as here:

        def opened(rows: Rows) -> tuple[int, Iterator[ImageBatch]]:
            return open_images(net, run, source, split, batch_size, rows, resize)

        count, batches = here.together(lambda: opened(here.part))
        outputs = {described.name: described.outputs for described in net.layers}
        of_what = about | {"layers": layers, "images": count, "store": fingerprint_of(source)}
        with partial_rows(here, out, {name: (count, *outputs[name]) for name in layers}, count, of_what) as part:
            if part.read.keys:
                batches = resumed(part, opened, source)
            read = compute(here, net, batches, part, bad)
            check_some(read.skipped, count)
            left_out = {*read.unread} if bad == "skip" else set[int]()
            shapes = {name: [count - len(left_out), *outputs[name]] for name in layers}
            about |= {"layers": [{"name": n, "shape": shapes[n], "file": files[n].name} for n in layers]}
            about |= {"skipped": read.skipped}
            here.once(lambda: write(out, part.arrays, read, left_out, about))
    doubts = ([] if why else at_chance(net, run)) + (
        constant_layers([name for name in layers if name not in read.varied]) if count - len(read.skipped) > 1 else []
    )
    return {
        "run": str(run),
        "checkpoint": about["checkpoint"],
        "random_weights": why,
        "source": str(source),
        "images": count,
        "keys": str(beside["keys"]),
        "wnids": str(beside["wnids"]) if read.wnids else None,
        "description": str(beside["description"]),
        "files": {name: {"path": str(files[name]), "shape": shapes[name]} for name in layers},
        "skipped": read.skipped,
        "warnings": [warn(sentence) for sentence in doubts] if here.is_first else [],
    }


def constant_layers(layers: list[str]) -> list[str]:
    """A sentence about the layers whose activations are the same for all images."""
    if not layers:
        return []
    return [
        f"all images have the same activations in {', '.join(layers)}: either the network has not learned (its units "
        "are dead), or the images are the same."
    ]


def beside_of(out: Path) -> dict[str, Path]:
    """The files beside the arrays, by what they hold."""
    endings = {"keys": ".keys.txt", "wnids": ".wnids.txt", "description": ".json"}
    return {what: out.with_suffix(ending) for what, ending in endings.items()}


def fingerprint_of(source: Path) -> str | None:
    """What tells a store from others; None for what is no store."""
    return fingerprint(Store(source)) if (source / "store.json").exists() else None


def resumed(
    part: PartialRows, opened: Callable[[Rows], tuple[int, Iterator[ImageBatch]]], source: Path
) -> Iterator[ImageBatch]:
    """The images after those whose rows are there. ValueError where the source has changed meanwhile."""
    done, total = len(part.read.keys), part.end - part.first
    last = slice(part.first + done - 1, part.first + done)
    if next(opened(lambda count: last)[1]).keys != part.read.keys[-1:]:
        raise ValueError(
            f"{source} has changed since {part.folder} was begun: delete that folder, and give the command again."
        )
    print(f"{part.folder} has {done:,} of {total:,} rows; computing the others.", file=sys.stderr, flush=True)
    return opened(lambda count: slice(last.stop, part.end))[1]


def compute(here: Ranks, net: TrainedAlexNet, batches: Iterator[ImageBatch], part: PartialRows, bad: Bad) -> Read:
    """Write this rank's rows. Returns what all ranks have read, in the order of the images."""
    title = f"computing {', '.join(part.arrays) if len(part.arrays) < 5 else f'{len(part.arrays)} layers'}"
    with Progress(title, part.end - part.first, start=len(part.read.keys), silent=not here.is_first) as bar:
        write_rows(net, batches, part, bar, bad)
    return all_of(here, part.read)


def write(out: Path, arrays: dict[str, RowFile], read: Read, left_out: set[int], about: dict[str, Any]) -> None:
    """Make OUT and the files beside it, without the rows `left_out`."""
    beside, kept = beside_of(out), [row not in left_out for row in range(len(read.keys))]
    keys = list(itertools.compress(read.keys, kept))
    wnids = list(itertools.compress(read.wnids, kept)) if read.wnids else []
    feature_files.finish(out, arrays, keys, wnids, left_out, about)
    write_lines(beside["keys"], keys)
    write_lines(beside["wnids"], wnids)
    durable.write_json(beside["description"], about | {"images": keys, "wnids": wnids or None})


def description(
    net: TrainedAlexNet,
    run: Path,
    source: Path,
    split: str | None,
    resize: Resize,
    random_weights: int | None,
    bad: Bad,
) -> dict[str, Any]:
    """What the arrays are of, as JSON values: the network and its weights, what it was shown, and how."""
    preprocess, is_control = net.preprocess, random_weights is not None
    return {
        "program": f"alexnet {version('alexnet')}",
        "run": str(run.resolve()),
        "checkpoint": None if is_control else str(net.checkpoint),
        "step": None if is_control else Checkpoint(net.checkpoint).step,
        "weights_sha256": None if is_control else checksum(net.checkpoint / WEIGHTS),
        "random_weights_seed": random_weights,
        "source": str(source.resolve()),
        "split": split,
        "preprocessing": {
            "resize": resize,
            "size": preprocess.size,
            "crop": preprocess.crop,
            "in_words": in_words(preprocess, resize),
            "filter": "bicubic, antialiased",
            "channels": "RGB, from 0 to 255",
            "subtracted": "the centre of the mean image",
            "mean_sha256": checksum(run / "mean.npy"),
            "honours_exif": preprocess.honour_exif,
        },
        "bad": bad,
    }


def _prepare(
    run: Path, out: Path, layer: str, device: str, checkpoint: str, beside: list[Path], force: bool
) -> tuple[tuple[TrainedAlexNet, dict[str, Path]], dict[str, str]]:
    """The network, and the file of each layer; and what all ranks must have in common."""
    feature_files.check_ending(out)
    net = load(run, device, checkpoint)
    files = feature_files.names_of(out, parse_layers(net, layer))
    for file in (*files.values(), *beside):
        check_output(file, force)
    return (net, files), ranks.common_facts([net.checkpoint]) | {"layer": layer}


def write_rows(net: TrainedAlexNet, batches: Iterator[ImageBatch], part: PartialRows, bar: Progress, bad: Bad) -> None:
    """Write the activations of the layers of `part`, after the rows that are there."""
    read, first = part.read, part.first_good()
    for batch in batches:
        row = part.first + len(read.keys)
        for name, values in activations(net, centre_views(net, batch.images), list(part.arrays)).items():
            watch(read.varied, name, first, np.delete(values, list(batch.errors), axis=0))
            values[list(batch.errors)] = np.nan
            part.arrays[name].write(row, values)
        for index, error in batch.errors.items():
            warn(f"{'left out' if bad == 'skip' else f'the row of {batch.keys[index]} is NaN'}: {error}")
            read.skipped.append({"key": batch.keys[index], "error": error})
            read.unread.append(row + index)
        read.keys.extend(batch.keys)
        read.wnids.extend(batch.wnids)
        part.note()
        bar.advance(len(batch.keys))


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """One line each, whole or not at all; no file where there are none."""
    if not lines:
        path.unlink(missing_ok=True)
        return
    with durable.whole(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def render(result: dict[str, Any]) -> RenderableType:
    """The files that were written, for a terminal."""
    table = Table()
    table.add_column("file", overflow="fold")
    table.add_column("contents")
    for name, file in result["files"].items():
        table.add_row(Text(file["path"]), f"{name}: float32 {' x '.join(map(str, file['shape']))}")
    table.add_row(Text(result["keys"]), "name of each image")
    if result["wnids"]:
        table.add_row(Text(result["wnids"]), "class of each image")
    table.add_row(Text(result["description"]), "network, weights, layers, preprocessing, images")
    rows = next(iter(result["files"].values()))["shape"][0]
    lost = "left out" if rows < result["images"] else "rows of NaN"
    bad = f", {len(result['skipped'])} of them cannot be read ({lost})" if result["skipped"] else ""
    network = result["checkpoint"] or f"{result['run']} with random weights"
    return Group(Text(f"{counted(result['images'], 'image')}{bad}, {network}", style="bold"), table)
