"""The index of a store: activations of one layer for each image of a split, and the images nearest to a query in it.

The distance is Euclidean between the flattened activations of one layer, for the centre view (paper, section 6). By
default the layer is the last hidden one: `relu7`, which is fc7 after its ReLU. An index is computed once and kept in a
folder, usually `RUN/index/`; it is computed again when the weights or the store have changed. Of several processes that
want it, one computes it and the others wait.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files import durable, lock
from alexnet.files.json_file import read_json
from alexnet.files.rows import RowFile, make_rows
from alexnet.progress import Progress
from alexnet.study.activations import activations, centre_views
from alexnet.study.matching import open_split
from alexnet.study.outputs import advice_where_unwritable
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.run_folder import fingerprint

BATCH_SIZE = 128
ROWS_AT_ONCE = 4096


def embed(net: TrainedAlexNet, views: Tensor, layer: str = "") -> Tensor:
    """Flattened activations of `layer` (default: the last hidden one): [B, 3, C, C] to float32 [B, D] on the CPU."""
    layer = layer or net.last_hidden
    return torch.from_numpy(activations(net, views, [layer])[layer]).flatten(1)


def open_index(
    net: TrainedAlexNet, folder: Path, store: Store, split: str, layer: str = "", batch_size: int = BATCH_SIZE
) -> RowFile:
    """`embed` of each image of the split, float32 [N, D], from `folder`; computed when missing or out of date.

    Raises ValueError where it has to be computed and the folder cannot be written.
    """
    layer = layer or net.last_hidden
    name = split if layer == net.last_hidden else f"{split}-{layer}"
    file, label = folder / f"{name}.npy", folder / f"{name}.json"
    images = open_split(store, split)
    made_from = made_from_of(store, split, layer, weights_digest(net))
    shape = len(images), math.prod(net.layers[[each.name for each in net.layers].index(layer)].outputs)
    with advice_where_unwritable(folder), lock.wait(folder):
        rows = find_rows(file, label, made_from, shape)
        if rows is None:
            label.unlink(missing_ok=True)
            compute(net, images, file, layer, f"indexing {split}", batch_size)
            durable.write_json(label, made_from)
            rows = find_rows(file, label, made_from, shape)
            assert rows is not None
    return rows


def find_rows(file: Path, label: Path, made_from: dict[str, Any], shape: tuple[int, int]) -> RowFile | None:
    """The index in `file`, float32 `shape`; None where it has to be made (again): it is missing, made from something
    else, damaged, or of another shape than its label says. It is open: another process may put another in its place."""
    if read_label(label) != made_from:
        return None
    try:
        rows = RowFile(file)
        rows.read(0, 0)
    except (OSError, ValueError):
        return None
    return rows if rows.shape == shape else None


def finite_rows(index: RowFile, first: int, last: int) -> np.ndarray:
    """`RowFile.read`. Raises ValueError for a row that no network gives whose weights are finite."""
    rows = index.read(first, last)
    if not (finite := np.isfinite(rows).reshape(len(rows), -1).all(1)).all():
        raise ValueError(
            f"{index.path}, row {first + int(np.argmin(finite))}, has a value that is not finite: "
            "delete the file to make it again."
        )
    return rows


def compute(net: TrainedAlexNet, images: StoreSplit, file: Path, layer: str, title: str, batch_size: int) -> None:
    """Write `embed` of each of `images` to `file`, whole or not at all."""
    partial = durable.new_name(file, durable.mark())
    rows: RowFile | None = None
    try:
        with Progress(title, total=len(images), unit="images") as bar:
            for batch, _, first in in_order(images, batch_size):
                vectors = embed(net, centre_views(net, batch), layer).numpy()
                if rows is None:
                    make_rows(partial, (len(images), vectors.shape[1]))
                    rows = RowFile(partial)
                rows.write(first, vectors)
                bar.advance(len(vectors))
        durable.put(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def made_from_of(store: Store, split: str, layer: str, weights: str) -> dict[str, Any]:
    """What the index of a split by a layer is made from, `weights` being the `weights_digest`: the JSON beside it."""
    images = len(store.split(split))
    return {"layer": layer, "split": split, "images": images, "weights": weights, "store": fingerprint(store)}


def read_label(path: Path) -> Any:
    """What an index was made from; None where that is unknown."""
    try:
        return read_json(path, dict[str, Any])
    except (OSError, ValueError):
        return None


def weights_digest(net: torch.nn.Module) -> str:
    """SHA-256 of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy())
    return digest.hexdigest()


def nearest(index: RowFile, queries: Tensor, count: int, rows_at_once: int = ROWS_AT_ONCE) -> tuple[Tensor, Tensor]:
    """The `count` rows of `index` [N, D] nearest to each of `queries` [Q, D]: row numbers int64 and distances
    float32, both [Q, count].

    Distances are computed from differences, not from squares, so that a vector is at distance 0 from itself. Raises
    ValueError, naming the file, where the index is truncated or not finite.
    """
    distances = torch.full((len(queries), count), torch.inf)
    numbers = torch.zeros((len(queries), count), dtype=torch.int64)
    for first in range(0, len(index), rows_at_once):
        rows = torch.from_numpy(finite_rows(index, first, first + rows_at_once))
        found = torch.cdist(queries, rows, compute_mode="donot_use_mm_for_euclid_dist")
        here = torch.arange(first, first + len(rows)).expand(len(queries), -1)
        distances, chosen = torch.cat([distances, found], 1).topk(count, largest=False)
        numbers = torch.cat([numbers, here], 1).gather(1, chosen)
    return numbers, distances


def nearest_images(
    index: RowFile, queries: Tensor, count: int, images: StoreSplit, classes: Sequence[Class]
) -> list[list[dict[str, Any]]]:
    """For each of `queries` [Q, D] the `count` nearest images of the split that was indexed, nearest first.

    Each is `key`, `index` (in the split), `wnid`, `name` and `distance`.
    """
    numbers, distances = nearest(index, queries, min(count, len(images)))
    return [
        [
            {"key": images.key(i), "index": i} | classes[int(images.labels[i])]._asdict() | {"distance": distance}
            for i, distance in zip(row, far, strict=True)
        ]
        for row, far in zip(numbers.tolist(), distances.tolist(), strict=True)
    ]
