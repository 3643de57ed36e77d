"""Features: the activations of any layer, written as NumPy arrays with the names of the images beside them.

Images are seen as in testing with one view: rescaled, cut to the centre, mean removed.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.files import durable
from alexnet.files.rows import RowFile, make_rows
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.ranges import BatchSize, UsageError, checked
from alexnet.study.activations import activations, centre_views, parse_layers
from alexnet.study.doubts import at_chance
from alexnet.study.image_batches import ImageBatch, open_images
from alexnet.study.outputs import check_output, check_some, warn
from alexnet.study.random_weights import warn_if_random
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import ranks


@checked
def features(
    run: Path,
    source: Path,
    out: Path,
    *,
    layer: str = "fc7",
    split: str | None = None,
    device: str = "auto",
    batch_size: BatchSize = 64,
    force: bool = False,
) -> dict[str, Any]:
    """Write the outputs of a layer (or of several, separated by commas) for all images of `source`.

    `source` is a store, any source that `prepare` reads, a folder of images, or an image. `split` chooses one split
    of it; None takes all, one after the other. For OUT.npy this writes

    - `OUT.npy`, float32 [N, ...shape of the layer]; for several layers `OUT.conv5.npy`, `OUT.fc7.npy` ...
    - `OUT.keys.txt`, the name of each image, one line per row
    - `OUT.wnids.txt`, its class, where the source has classes

    over other files if `force`. Arrays may be larger than memory. The row of an image that cannot be read is NaN. Under
    torchrun each rank computes its part of the rows.

    Returns `checkpoint`, `random_weights` (why the network looks untrained; None where it looks trained), `images`,
    `keys`, `wnids`, `files` (for each layer its `path` and `shape`), `skipped` (`key` and `error` of each image that
    cannot be read) and `warnings`. Raises ValueError for an unknown layer, where no image can be read, and when the
    disk has no room for the result.
    """
    if out.suffix != ".npy":
        raise UsageError(f"{out} must end in .npy.")
    kernels.reuse_memory()
    net = load(run, device)
    random_weights = warn_if_random(net, run)
    layers = parse_layers(net, layer)
    files = {name: out.with_suffix(f".{name}.npy") if len(layers) > 1 else out for name in layers}
    beside = {"keys": out.with_suffix(".keys.txt"), "wnids": out.with_suffix(".wnids.txt")}
    for file in (*files.values(), *beside.values()):
        check_output(file, force)
    outputs = {described.name: described.outputs for described in net.layers}
    with ranks.sharing() as here, contextlib.ExitStack() as cleaning:
        maker = here.gather(os.getpid())[0]  # a name of its own: the same command may run twice at once
        partial = {name: file.with_name(f"{durable.NEW}{maker}-{file.name}") for name, file in files.items()}
        count, batches = open_images(net, run, source, split, batch_size, here.part)
        shapes = {name: (count, *outputs[name]) for name in layers}
        here.once(lambda: [make_rows(partial[name], shapes[name]) for name in layers])
        for file in partial.values():
            cleaning.callback(file.unlink, missing_ok=True)
        arrays = {name: RowFile(file) for name, file in partial.items()}
        mine = here.part(count)
        with Progress(f"computing {', '.join(layers)}", mine.stop - mine.start, silent=not here.is_first) as bar:
            keys, wnids, skipped, varied = write_rows(net, batches, arrays, mine.start, bar)
        keys, wnids = list(itertools.chain(*here.gather(keys))), list(itertools.chain(*here.gather(wnids)))
        skipped = list(itertools.chain(*here.gather(skipped)))
        check_some(skipped, count)
        varied = set(itertools.chain(*here.gather(varied)))
        here.once(lambda: [durable.put(partial[name], files[name]) for name in layers])
        if here.is_first:
            write_lines(beside["keys"], keys)
            write_lines(beside["wnids"], wnids)
    doubts = ([] if random_weights else at_chance(net, run)) + (
        constant_layers([name for name in layers if name not in varied]) if count - len(skipped) > 1 else []
    )
    return {
        "run": str(run),
        "checkpoint": str(net.checkpoint),
        "random_weights": random_weights,
        "source": str(source),
        "images": count,
        "keys": str(beside["keys"]),
        "wnids": str(beside["wnids"]) if wnids else None,
        "files": {name: {"path": str(files[name]), "shape": list(shapes[name])} for name in layers},
        "skipped": skipped,
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


def write_rows(
    net: TrainedAlexNet, batches: Iterator[ImageBatch], arrays: dict[str, RowFile], first: int, bar: Progress
) -> tuple[list[str], list[str], list[dict[str, str]], set[str]]:
    """Write the activations of the layers in `arrays`, starting at row `first`.

    Returns the images' keys and wnids, `key` and `error` of those that cannot be read, and the layers in which two
    images differ.
    """
    seen: dict[str, np.ndarray] = {}
    varied: set[str] = set()
    keys: list[str] = []
    wnids: list[str] = []
    skipped: list[dict[str, str]] = []
    for batch in batches:
        for name, values in activations(net, centre_views(net, batch.images), list(arrays)).items():
            good = np.delete(values, list(batch.errors), axis=0) if name not in varied else values[:0]
            if len(good) and (good != seen.setdefault(name, good[0].copy())).any():
                varied.add(name)
            values[list(batch.errors)] = np.nan
            arrays[name].write(first + len(keys), values)
        for row, error in batch.errors.items():
            warn(f"the row of {batch.keys[row]} is NaN: {error}")
            skipped.append({"key": batch.keys[row], "error": error})
        keys += batch.keys
        wnids += batch.wnids
        bar.advance(len(batch.keys))
    return keys, wnids, skipped, varied


def write_lines(path: Path, lines: list[str]) -> None:
    """One line each; no file where there are none."""
    path.unlink(missing_ok=True)
    if lines:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


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
    bad = f", {len(result['skipped'])} of them cannot be read (rows of NaN)" if result["skipped"] else ""
    return Group(Text(f"{result['images']} images{bad}, {result['checkpoint']}", style="bold"), table)
