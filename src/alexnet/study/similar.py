"""The images of a store that are nearest to an image in fc7, as in figure 4 (right) of the paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.store.reader import Store
from alexnet.ranges import Count, checked
from alexnet.study import drawing, panels
from alexnet.study.activations import check_layer
from alexnet.study.class_names import short_name, true_class, true_label
from alexnet.study.image_files import find_images
from alexnet.study.index import embed, nearest_images, open_index
from alexnet.study.matching import check_size, open_split
from alexnet.study.trained import load


@checked
def similar(
    run: Path,
    images: Sequence[Path],
    store: Path,
    *,
    split: str = "train",
    count: Count = 6,
    layer: str = "",
    panel: Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Find the `count` images of a split of the store that are nearest to each of `images`.

    Images are near when the Euclidean distance between their activations in `layer` is small (default: the last
    hidden layer, which is fc7 after its ReLU). `panel` is a file to draw the images and their nearest to.

    Returns `queries`: for each image `path`, `true`, `true_name` (None where not known) and `nearest`, a list of
    `key`, `index` (in the split), `wnid`, `name` and `distance`, nearest first.

    Raises ValueError for a file that is no image, for an unknown layer, and when run and store do not fit each other.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one image.")
    paths = find_images(images)
    if panel is not None:
        panels.check_panel(paths)
    net = load(run, device)
    layer = layer or net.last_hidden
    check_layer(net, layer)
    data = Store(store)
    searched = open_split(data, split)
    check_size(net, data, run)
    vectors = torch.cat([embed(net, net.preprocess(path)[None], layer) for path in paths])
    index = open_index(net, run, data, split, layer)
    found = nearest_images(index, vectors, count, searched, data.classes)
    queries = [
        {"path": str(path)} | true_label(true_class(path, net.classes), net.classes) | {"nearest": row}
        for path, row in zip(paths, found, strict=True)
    ]
    result = {"run": str(run), "store": str(store), "split": split, "layer": layer, "queries": queries}
    if panel is not None:
        shown = [net.preprocess.pixels(path) for path in paths]
        neighbours = [[searched.image(each["index"]) for each in row] for row in found]
        drawing.save(panels.similar(shown, neighbours, queries), panel)
        result["panel"] = str(panel)
    return result


def render(result: dict[str, Any]) -> RenderableType:
    """A table for each image; names of its own class are green."""
    parts: list[RenderableType] = []
    for query in result["queries"]:
        title = query["path"] + (f" ({short_name(query['true_name'])})" if query["true"] else "")
        table = Table()
        table.add_column("distance", justify="right")
        table.add_column("class")
        table.add_column("image", overflow="fold")
        for found in query["nearest"]:
            same = "green" if found["wnid"] == query["true"] else ""
            table.add_row(f"{found['distance']:.1f}", Text(short_name(found["name"]), style=same), Text(found["key"]))
        parts += [Text(title, style="bold"), table]
    return Group(*parts)
