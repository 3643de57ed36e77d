"""The training images nearest to an image, as in figure 4 (right) of the paper.

Near means: small Euclidean distance between the 4096 activations of the last hidden layer, which in the paper's
network are the outputs of stage `relu7` (fc7 after its ReLU), for the centre view. The activations of the whole
split are computed once and kept in `RUN/index/`; they are computed anew when the weights or the store have changed.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store
from alexnet.files import durable
from alexnet.files.rows import RowFile, make_rows
from alexnet.progress import Progress
from alexnet.study.evaluate import check_size, open_split
from alexnet.study.features import activations, centre_views, check_layer
from alexnet.study.images import expand, readable, true_class
from alexnet.study.panels import check_panel, save
from alexnet.study.panels import similar as draw_panel
from alexnet.study.predict import named
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training.run_folder import fingerprint

BATCH_SIZE = 128
ROWS_AT_ONCE = 4096


def similar(
    run: Path,
    images: Sequence[Path],
    store: Path,
    *,
    split: str = "train",
    count: int = 6,
    layer: str = "",
    panel: Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """For each image the `count` nearest ones in a split of the store.

    Returns `queries`: `path`, `true`, `true_name` (None where not known) and `nearest`, a list of `key`,
    `index` (in the split), `wnid`, `name` and `distance`, nearest first. `panel` is where to save an image
    of it, as figure 4 (right). `layer` is any named stage (default: the last hidden one); its outputs are flattened.

    Raises ValueError for a path that is no image, for an unknown layer, and where run and store do not fit.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one image.")
    paths = expand(images)
    if panel is not None:
        check_panel(paths)
    net = load(run, device)
    layer = layer or net.last_hidden
    check_layer(net, layer)
    data = Store(store)
    pool = open_split(data, split)
    check_size(net, data, run)
    points = torch.cat([points_of(net, net.preprocess(path)[None], layer) for path in paths])
    index = open_index(net, run, data, split, layer)
    positions, distances = nearest(index, points, min(count, len(pool)))
    queries = []
    for path, row, far in zip(paths, positions.tolist(), distances.tolist(), strict=True):
        found = [
            {"key": pool.key(i), "index": i} | data.classes[int(pool.labels[i])]._asdict() | {"distance": distance}
            for i, distance in zip(row, far, strict=True)
        ]
        queries.append({"path": str(path)} | named(true_class(path, net.classes), net.classes) | {"nearest": found})
    result = {"run": str(run), "store": str(store), "split": split, "layer": layer, "queries": queries}
    if panel is not None:
        shown = [net.preprocess.shown(path) for path in paths]
        save(draw_panel(shown, [[pool.image(i) for i in row] for row in positions.tolist()], queries), panel)
        result["panel"] = str(panel)
    return result


def points_of(net: TrainedAlexNet, views: Tensor, layer: str = "") -> Tensor:
    """Flattened activations of `layer` (default: the last hidden one): [B, 3, C, C] to float32 [B, D] on the CPU."""
    layer = layer or net.last_hidden
    return torch.from_numpy(activations(net, views, [layer])[layer]).flatten(1)


def open_index(net: TrainedAlexNet, run: Path, store: Store, split: str, layer: str = "") -> RowFile:
    """Activations of the whole split, float32 [N, D]; made when missing or out of date."""
    folder = run / "index"
    layer = layer or net.last_hidden
    name = split if layer == net.last_hidden else f"{split}-{layer}"
    file, label = folder / f"{name}.npy", folder / f"{name}.json"
    pool = open_split(store, split)
    made_from = {
        "layer": layer,
        "split": split,
        "images": len(pool),
        "weights": weights_digest(net),
        "store": fingerprint(store),
    }
    if file.exists() and label.exists() and json.loads(label.read_text(encoding="utf-8")) == made_from:
        return RowFile(file)
    folder.mkdir(exist_ok=True)
    label.unlink(missing_ok=True)
    rows: RowFile | None = None
    partial = file.with_suffix(".partial")
    with Progress(f"indexing {split}", total=len(pool), unit="images") as bar:
        for batch, _, first in in_order(pool, BATCH_SIZE):
            points = points_of(net, centre_views(net, batch), layer).numpy()
            if rows is None:
                make_rows(partial, (len(pool), points.shape[1]))
                rows = RowFile(partial)
            rows.write(first, points)
            bar.advance(len(points))
    durable.put(partial, file)
    label.write_text(json.dumps(made_from, indent=2) + "\n", encoding="utf-8")
    return RowFile(file)


def weights_digest(net: torch.nn.Module) -> str:
    """SHA-256 of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy())
    return digest.hexdigest()


def nearest(index: RowFile, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` rows of `index` [N, D] nearest to each of `points` [Q, D]: positions int64 and distances,
    [Q, count].

    Distances are computed from differences, so that a point is at distance 0 from itself.
    """
    distances = torch.full((len(points), count), torch.inf)
    positions = torch.zeros((len(points), count), dtype=torch.int64)
    for first in range(0, len(index), ROWS_AT_ONCE):
        rows = torch.from_numpy(index.read(first, first + ROWS_AT_ONCE))
        found = torch.cdist(points, rows, compute_mode="donot_use_mm_for_euclid_dist")
        here = torch.arange(first, first + len(rows)).expand(len(points), -1)
        distances, chosen = torch.cat([distances, found], 1).topk(count, largest=False)
        positions = torch.cat([positions, here], 1).gather(1, chosen)
    return positions, distances


def render(result: dict[str, Any]) -> RenderableType:
    """A table for each image; classes that equal its true one are green."""
    parts: list[RenderableType] = []
    for query in result["queries"]:
        title = query["path"] + (f" ({readable(query['true_name'])})" if query["true"] else "")
        table = Table()
        table.add_column("distance", justify="right")
        table.add_column("class")
        table.add_column("image", overflow="fold")
        for found in query["nearest"]:
            same = "green" if found["wnid"] == query["true"] else ""
            table.add_row(f"{found['distance']:.1f}", Text(readable(found["name"]), style=same), Text(found["key"]))
        parts += [Text(title, style="bold"), table]
    return Group(*parts)
