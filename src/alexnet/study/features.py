"""Activations of any named stage, written as NumPy arrays with the image names beside them.

A layer name means exactly the output of the submodule of that name, as a forward hook sees it: `conv5` and
`fc7` are outputs before the ReLU, `relu5` and `relu7` after it. All numbers are float32, whatever the run was
trained in. Images are seen as in testing with one view: rescaled, cut to the centre, mean removed.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from alexnet.data.loader import in_background, in_order
from alexnet.data.sources import LabelledImage, open_source, read_bytes
from alexnet.data.store.reader import Store
from alexnet.files import durable
from alexnet.files.rows import RowFile, make_rows
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.study.evaluate import check_size, open_split
from alexnet.study.images import expand, is_image
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import ranks
from alexnet.training.ranks import Ranks


class Batch(NamedTuple):
    """Some images on their way to the network."""

    images: Tensor
    """uint8 [B, S, S, 3], on the CPU."""
    keys: list[str]
    wnids: list[str]
    """Empty where the source knows no classes."""


def features(
    run: Path,
    source: Path,
    out: Path,
    *,
    layer: str = "fc7",
    split: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
) -> dict[str, Any]:
    """Write the outputs of one stage (or of several, separated by commas) for all images of `source`.

    `source` is a store, anything that can be prepared into one, a folder of images, or an image. `split`
    chooses one split of it; None takes all, one after the other. For OUT.npy this writes

    - `OUT.npy`, float32 [N, ...shape of the layer]; for several layers `OUT.conv5.npy`, `OUT.fc7.npy` ...
    - `OUT.keys.txt`, the name of each image, a line for each row
    - `OUT.wnids.txt`, its class, where the source has classes

    Arrays may be larger than memory. Under torchrun each rank computes its part of the rows. Returns `images`,
    `keys`, `wnids` and `files`: for each layer its `path` and `shape`.

    Raises ValueError for an unknown layer, a bad image, and where the result does not fit on the disk.
    """
    if out.suffix != ".npy":
        raise ValueError(f"{out} must end in .npy.")
    kernels.reuse_memory()
    net = load(run, device)
    layers = [name.strip() for name in layer.split(",")]
    for name in layers:
        check_layer(net, name)
    files = {name: out.with_suffix(f".{name}.npy") if len(layers) > 1 else out for name in layers}
    partial = {name: file.with_suffix(".partial") for name, file in files.items()}
    outputs = {described.name: described.outputs for described in net.layers}
    with ranks.sharing() as here, contextlib.ExitStack() as cleaning:
        count, batches = open_images(net, run, source, split, batch_size, here)
        shapes = {name: (count, *outputs[name]) for name in layers}
        here.once(lambda: [make_rows(partial[name], shapes[name]) for name in layers])
        for file in partial.values():
            cleaning.callback(file.unlink, missing_ok=True)
        arrays = {name: RowFile(file) for name, file in partial.items()}
        first = done = here.part(count).start
        keys: list[str] = []
        wnids: list[str] = []
        total = here.part(count).stop - first
        with Progress(f"computing {', '.join(layers)}", total=total, silent=not here.is_first) as bar:
            for batch in batches:
                found = activations(net, centre_views(net, batch.images), layers)
                for name, values in found.items():
                    arrays[name].write(done, values)
                done += len(batch.keys)
                keys += batch.keys
                wnids += batch.wnids
                bar.advance(len(batch.keys))
        keys, wnids = list(itertools.chain(*here.gather(keys))), list(itertools.chain(*here.gather(wnids)))
        here.once(lambda: [durable.put(partial[name], files[name]) for name in layers])
        beside = {"keys": out.with_suffix(".keys.txt"), "wnids": out.with_suffix(".wnids.txt")}
        if here.is_first:
            write_lines(beside["keys"], keys)
            write_lines(beside["wnids"], wnids)
    return {
        "run": str(run),
        "source": str(source),
        "images": count,
        "keys": str(beside["keys"]),
        "wnids": str(beside["wnids"]) if wnids else None,
        "files": {name: {"path": str(files[name]), "shape": list(shapes[name])} for name in layers},
    }


def layers_of(net: nn.Module) -> list[str]:
    """Names of the stages, first to last."""
    return [name for name, _ in net.named_children()]


def check_layer(net: nn.Module, layer: str) -> None:
    """ValueError, with the possible names, when the network has no such stage."""
    if layer not in layers_of(net):
        raise ValueError(f"There is no layer '{layer}'; this network has {', '.join(layers_of(net))}.")


@torch.inference_mode()
def activations(net: nn.Module, views: Tensor, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Outputs of the named stages for [B, 3, C, C] images, mean removed: float32 [B, ...] each.

    Copied at the moment when the stage returns: an in-place stage that follows does not reach them.
    """
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            found[name] = output.to("cpu", torch.float32, copy=True).contiguous().numpy()

        return hook

    handles = [net.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        net(views.to(next(net.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def centre_views(net: TrainedAlexNet, images: Tensor) -> Tensor:
    """What the network sees of whole images: uint8 [B, S, S, 3] to float32 [B, 3, C, C] on its device."""
    return net.preprocess.views(images.to(next(net.parameters()).device), 1)[:, 0]


def write_lines(path: Path, lines: list[str]) -> None:
    """One line each; no file where there are none."""
    path.unlink(missing_ok=True)
    if lines:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def open_images(
    net: TrainedAlexNet, run: Path, source: Path, split: str | None, batch_size: int, here: Ranks
) -> tuple[int, Iterator[Batch]]:
    """How many images there are, and all of them in batches."""
    if (source / "store.json").exists():
        store = Store(source)
        check_size(net, store, run)
        splits = [split] if split else [name for name, images in store.splits.items() if images]
        count = sum(len(open_split(store, name)) for name in splits)
        return count, from_store(store, splits, batch_size, here.part(count))
    if not source.is_dir() or (split is None and any(is_image(f) for f in source.iterdir() if f.is_file())):
        return loose(net, source, batch_size, here)
    try:
        labelled = open_source(source, val_fraction=0.0 if split is None else None)
    except ValueError:
        if split is not None or not any(is_image(file) for file in source.rglob("*") if file.is_file()):
            raise
        return loose(net, source, batch_size, here)
    if split and split not in labelled.splits:
        raise ValueError(f"{source} has no split '{split}'; it has: {', '.join(labelled.splits)}.")
    chosen = [labelled.splits[split]] if split else list(labelled.splits.values())
    count = sum(part.count if part.count is not None else sum(1 for _ in part) for part in chosen)

    def read(image: LabelledImage) -> np.ndarray:
        return net.preprocess.shown(read_bytes(image.location))

    items = ((p.key, labelled.classes[p.label].wnid, p) for part in chosen for p in part)
    part = here.part(count)
    return count, from_items(net, itertools.islice(items, part.start, part.stop), read, batch_size)


def loose(net: TrainedAlexNet, source: Path, batch_size: int, here: Ranks) -> tuple[int, Iterator[Batch]]:
    """An image, or all those in a folder; keys are paths below the folder."""
    paths = expand([source])
    root = source if source.is_dir() else source.parent
    items = ((str(path.relative_to(root)), None, path) for path in paths[here.part(len(paths))])
    return len(paths), from_items(net, items, net.preprocess.shown, batch_size)


def from_store(store: Store, splits: Sequence[str], batch_size: int, part: slice) -> Iterator[Batch]:
    """The images of some splits of a store, in its order; of all of them in a row only a part."""
    before = 0
    for name in splits:
        pool = store.split(name)
        rows = slice(max(0, part.start - before), max(0, part.stop - before))
        before += len(pool)
        for images, labels, first in in_order(pool, batch_size, rows=rows):
            keys = [pool.key(i) for i in range(first, first + len(images))]
            yield Batch(images, keys, [store.classes[label].wnid for label in labels.tolist()])


def from_items(
    net: TrainedAlexNet,
    items: Iterator[tuple[str, str | None, Any]],
    read: Callable[[Any], np.ndarray],
    batch_size: int,
) -> Iterator[Batch]:
    """Images that must be decoded and rescaled first, in the background; items are (key, wnid or None,
    place).

    ValueError naming the image that cannot be read.
    """
    ahead: dict[int, tuple[str, str | None, Any]] = {}

    def ranges() -> Iterator[range]:
        for first in itertools.count(0, batch_size):
            ahead.update(enumerate(itertools.islice(items, batch_size), first))
            if first not in ahead:
                return
            yield range(first, max(ahead) + 1)

    def fill(images: np.ndarray, positions: range) -> None:
        for row, position in enumerate(positions):
            key, _, place = ahead[position]
            try:
                images[row] = read(place)
            except ValueError as error:
                raise ValueError(f"LabelledImage {key}: {error}") from None

    for images, positions in in_background(ranges(), net.preprocess.size, fill, workers=0):
        done = [ahead.pop(position) for position in positions]
        yield Batch(images, [key for key, _, _ in done], [wnid for _, wnid, _ in done if wnid])


def render(result: dict[str, Any]) -> RenderableType:
    """What was written, for a terminal."""
    table = Table()
    table.add_column("file", overflow="fold")
    table.add_column("holds")
    for name, file in result["files"].items():
        table.add_row(Text(file["path"]), f"{name}: float32 {' x '.join(map(str, file['shape']))}")
    table.add_row(Text(result["keys"]), "name of each image")
    if result["wnids"]:
        table.add_row(Text(result["wnids"]), "class of each image")
    return Group(Text(f"{result['images']} images", style="bold"), table)
