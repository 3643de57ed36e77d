"""The images of a store that are nearest to an image in fc7, as in figure 4 (right) of the paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from alexnet.data.store.reader import Store
from alexnet.ranges import Count, checked
from alexnet.study import drawing, panels
from alexnet.study.activations import check_layer
from alexnet.study.class_names import short_name, true_class, true_label
from alexnet.study.doubts import at_chance
from alexnet.study.image_files import find_images
from alexnet.study.index import embed, nearest_images, open_index
from alexnet.study.matching import check_size, open_split
from alexnet.study.outputs import check_figure, check_some, left_out, warn
from alexnet.study.random_weights import warn_if_random
from alexnet.study.tables import heading, table
from alexnet.study.trained import TrainedAlexNet, load


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
    out: Path | None = None,
    device: str = "auto",
    force: bool = False,
) -> dict[str, Any]:
    """Find the `count` images of a split of the store that are nearest to each of `images`.

    Images are near when the Euclidean distance between their activations in `layer` is small (default: the last
    hidden layer, which is fc7 after its ReLU). `panel` is a file to draw the images and their nearest to, over another
    one if `force`. The index of the store is kept in `out` (default: `RUN/index`).

    Returns `checkpoint`, `random_weights` (why the network looks untrained; None where it looks trained), `queries`,
    `skipped` (`path` and `error` of each file that cannot be read; then there also is an `error`) and `warnings`. A
    query has, for each image `path`, `true`, `true_name` (None where not known) and `nearest`, a list of `key`, `index`
    (in the split), `wnid`, `name` and `distance`, nearest first.

    Raises ValueError where no file can be read, for an unknown layer, and when run and store do not fit each other.
    """
    check_figure(panel, force)
    paths = find_images(images)
    if panel is not None:
        panels.check_panel(paths)
    net = load(run, device)
    random_weights = warn_if_random(net, run)
    layer = layer or net.last_hidden
    check_layer(net, layer)
    data = Store(store)
    searched = open_split(data, split)
    check_size(net, data, run)
    paths, vectors, skipped = embed_files(net, paths, layer)
    index = open_index(net, out or run / "index", data, split, layer)
    found = nearest_images(index, vectors, count, searched, data.classes)
    queries = [
        {"path": str(path)} | true_label(true_class(path, net.classes), net.classes) | {"nearest": row}
        for path, row in zip(paths, found, strict=True)
    ]
    doubts = ([] if random_weights else at_chance(net, run)) + suspicious(queries, layer)
    result = {
        "run": str(run),
        "checkpoint": str(net.checkpoint),
        "random_weights": random_weights,
        "store": str(store),
        "split": split,
        "layer": layer,
        "queries": queries,
        "skipped": skipped,
        "warnings": [warn(sentence) for sentence in doubts],
    }
    if panel is not None:
        shown = [net.preprocess.pixels(path) for path in paths]
        neighbours = [[searched.image(each["index"]) for each in row] for row in found]
        drawing.save(panels.similar(shown, neighbours, queries), panel)
        result["panel"] = str(panel)
    return result | left_out(skipped, len(paths) + len(skipped))


def embed_files(
    net: TrainedAlexNet, paths: Sequence[Path], layer: str
) -> tuple[list[Path], Tensor, list[dict[str, str]]]:
    """The files that can be read, their activations, float32 [N, D], and `path` and `error` of the others."""
    good: list[Path] = []
    vectors: list[Tensor] = []
    skipped: list[dict[str, str]] = []
    for path in paths:
        try:
            vectors.append(embed(net, net.preprocess(path)[None], layer))
            good.append(path)
        except ValueError as error:
            skipped.append({"path": str(path), "error": str(error)})
            if len(paths) > 1:
                warn(f"left out: {error}")
    check_some(skipped, len(paths))
    return good, torch.cat(vectors), skipped


def suspicious(queries: Sequence[dict[str, Any]], layer: str) -> list[str]:
    """A sentence where all the images found, several for each query, are at distance 0."""
    if any(len(query["nearest"]) < 2 or query["nearest"][-1]["distance"] > 0 for query in queries):
        return []
    return [
        f"all distances are 0: {layer} is the same for all these images. Either the network has not learned (its units "
        "are dead), or the store holds the same image several times."
    ]


def render(result: dict[str, Any]) -> RenderableType:
    """A table for each image; names of its own class are green."""
    parts: list[RenderableType] = [Text(f"{result['layer']} of {result['checkpoint']}")]
    for query in result["queries"]:
        title = query["path"] + (f" ({short_name(query['true_name'])})" if query["true"] else "")
        neighbours = table("class", "image", "distance", texts=2)
        for found in query["nearest"]:
            same = "green" if found["wnid"] == query["true"] else ""
            name = Text(short_name(found["name"]), style=same)
            neighbours.add_row(name, Text(found["key"]), drawing.three_figures(found["distance"]))
        parts += [heading(title), neighbours]
    return Group(*parts)
