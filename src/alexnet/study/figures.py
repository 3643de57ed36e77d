"""All figures of a run: conv1's kernels, learning curves, activation maps, and the panels of the paper's figure 4.

Files go to `RUN/figures/`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.store.reader import Store, StoreSplit
from alexnet.ranges import Seed, checked
from alexnet.study import curves, drawing, panels, plots
from alexnet.study.activations import activations, parse_layers
from alexnet.study.class_names import true_label
from alexnet.study.index import embed, nearest_images, open_index
from alexnet.study.matching import check_size, open_split, run_labels
from alexnet.study.scores import probabilities, top5
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training.metrics import read_lines

PREDICTED, QUERIES, NEIGHBOURS = 8, 5, 6
"""As in figure 4: eight images with their labels, five with the six nearest."""


@checked
def figures(
    run: Path,
    store: Path | None = None,
    *,
    image: Path | None = None,
    layer: str = "conv1",
    split: str = "val",
    device: str = "auto",
    seed: Seed = 0,
) -> dict[str, Any]:
    """Draw all figures of a run to `RUN/figures/`.

    These are conv1's kernels and the learning curves. With `image` or `store`, also the activation maps of `layer` (or
    of several, separated by commas) for that image, or for one of the store. With a store also eight images of `split`
    with their five most probable labels, and the training images nearest to five of them; `seed` chooses them, from as
    many classes as possible.

    Returns `figures`, the path of each file by name. Raises ValueError when run and store do not fit each other.
    """
    net = load(run, device)
    layers = parse_layers(net, layer)
    drawn = {"conv1_kernels": plots.kernels(net.conv1.weight.detach().float().cpu().numpy(), net.network.towers)}
    if (run / "metrics.jsonl").exists():
        lines = read_lines(run / "metrics.jsonl")
        steps = [line for line in lines if "learning_rate" in line]
        drawn["learning_curves"] = curves.learning_curves(
            steps, [line for line in lines if line.get("evaluation") == "val"]
        )
    shown = None if image is None else net.preprocess.pixels(image)
    if store is not None:
        data = Store(store)
        check_size(net, data, run)
        labels = run_labels(data, net.classes, run).tolist()
        pool = open_split(data, split)
        chosen = from_different_classes(pool.labels, PREDICTED, seed)
        if shown is None:
            shown = pool.image(chosen[0])
        drawn["predictions"] = predictions_panel(net, pool, labels, chosen)
        if data.splits.get("train"):
            drawn["similar"] = similar_panel(net, run, data, pool, labels, chosen[:QUERIES])
    if shown is not None:
        maps = activations(net, net.preprocess(shown)[None], layers)
        for name in layers:
            drawn[f"activations_{name}"] = plots.activations(maps[name][0], shown, name, net.network.towers)
    paths = {name: run / "figures" / f"{name}.png" for name in drawn}
    for name, figure in drawn.items():
        drawing.save(figure, paths[name])
    return {"run": str(run), "figures": {name: str(path) for name, path in paths.items()}}


def from_different_classes(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """`count` random indices into labels, int64 [N]; no class comes twice before every class has come once."""
    random = np.random.default_rng(seed)
    rounds: list[tuple[int, int]] = []
    taken: dict[int, int] = {}
    for index in random.permutation(len(labels)).tolist():
        label = int(labels[index])
        rounds.append((taken.setdefault(label, 0), index))
        taken[label] += 1
    order = sorted(range(len(rounds)), key=lambda i: (rounds[i][0], i))
    return [rounds[i][1] for i in order[:count]]


def predictions_panel(net: TrainedAlexNet, pool: StoreSplit, labels: Sequence[int], chosen: Sequence[int]) -> Figure:
    """Figure 4, left, of the images `chosen` of a store; `labels` are the run's for each class of the store."""
    images = [pool.image(i) for i in chosen]
    answers = []
    for i, image in zip(chosen, images, strict=True):
        scores = probabilities(net, net.preprocess.image_views(image, 10)[None])[0]
        answers.append(true_label(labels[pool.labels[i]], net.classes) | {"top5": top5(scores, net.classes)})
    return panels.predictions(images, answers)


def similar_panel(
    net: TrainedAlexNet, run: Path, store: Store, pool: StoreSplit, labels: Sequence[int], chosen: Sequence[int]
) -> Figure:
    """Figure 4, right, of the images `chosen` of a store; `labels` are the run's for each class of the store."""
    train = open_split(store, "train")
    images = [pool.image(i) for i in chosen]
    vectors = embed(net, torch.stack([net.preprocess(image) for image in images]))
    found = nearest_images(open_index(net, run, store, "train"), vectors, NEIGHBOURS, train, store.classes)
    queries = [
        true_label(labels[pool.labels[i]], net.classes) | {"nearest": row} for i, row in zip(chosen, found, strict=True)
    ]
    return panels.similar(images, [[train.image(each["index"]) for each in row] for row in found], queries)


def render(result: dict[str, Any]) -> RenderableType:
    """The files that were written, for a terminal."""
    table = Table(box=None, show_header=False)
    table.add_column("figure")
    table.add_column("file", overflow="fold")
    for name, path in result["figures"].items():
        table.add_row(name.replace("_", " "), Text(path))
    return table
