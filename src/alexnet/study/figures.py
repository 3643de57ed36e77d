"""All figures of a run: conv1 kernels and learning curves, activation maps, and the panels of figure 4.

Figures 3 and 4 are the paper's; files go to `RUN/figures/`.
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
from alexnet.study import panels, plots
from alexnet.study.evaluate import check_size, open_split, probabilities, store_labels
from alexnet.study.features import activations, check_layer
from alexnet.study.predict import named, top5, views_of
from alexnet.study.similar import nearest, open_index, points_of
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training.metrics import read_lines

PREDICTED, COMPARED, NEIGHBOURS = 8, 5, 6
"""As in figure 4: eight images with bars, five with the six nearest."""


def figures(
    run: Path,
    store: Path | None = None,
    *,
    image: Path | None = None,
    layer: str = "conv1",
    split: str = "val",
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Draw what can be drawn of a run, into `RUN/figures/`.

    Always the kernels and the learning curves; activation maps of `layer` (or of several, separated by
    commas) for `image`, or for one from the store; with a store also eight labelled images of `split` and
    the training images nearest to five of them, drawn with `seed` from as many classes as there are.

    Returns `figures`, the path of each file by name. Raises ValueError where run and store do not fit.
    """
    net = load(run, device)
    layers = [name.strip() for name in layer.split(",")]
    for name in layers:
        check_layer(net, name)
    folder = run / "figures"
    drawn: dict[str, Path] = {}

    def save(name: str, figure: Figure) -> None:
        drawn[name] = folder / f"{name}.png"
        panels.save(figure, drawn[name])

    save("conv1_kernels", plots.kernels(net.conv1.weight.detach().float().cpu().numpy(), net.network.towers))
    metrics = run / "metrics.jsonl"
    if metrics.exists():
        lines = read_lines(metrics)
        save(
            "learning_curves",
            plots.learning_curves(
                [line for line in lines if "learning_rate" in line],
                [line for line in lines if line.get("evaluation") == "val"],
            ),
        )
    shown = None if image is None else net.preprocess.shown(image)
    if store is not None:
        data = Store(store)
        check_size(net, data, run)
        labels = store_labels(data, net.classes, run).tolist()
        pool = open_split(data, split)
        chosen = from_different_classes(pool.labels, PREDICTED, seed)
        if shown is None:
            shown = pool.image(chosen[0])
        save("predictions", predictions_panel(net, pool, labels, chosen))
        if data.splits.get("train"):
            save("similar", similar_panel(net, run, data, pool, labels, chosen[:COMPARED]))
    if shown is not None:
        maps = activations(net, net.preprocess(shown)[None], layers)
        for name in layers:
            save(f"activations_{name}", plots.activations(maps[name][0], shown, name, net.network.towers))
    return {"run": str(run), "figures": {name: str(path) for name, path in drawn.items()}}


def from_different_classes(labels: np.ndarray, count: int, seed: int) -> list[int]:
    """`count` positions in labels, int64 [N], no class twice before every class was there once."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    turn: dict[int, int] = {}
    rounds = []
    for position in shuffled.tolist():
        label = int(labels[position])
        rounds.append((turn.setdefault(label, 0), position))
        turn[label] += 1
    order = sorted(range(len(rounds)), key=lambda i: (rounds[i][0], i))
    return [rounds[i][1] for i in order[:count]]


def predictions_panel(net: TrainedAlexNet, pool: StoreSplit, labels: Sequence[int], chosen: Sequence[int]) -> Figure:
    """Figure 4, left, for images of a store; `labels` are the run's for each of the store's."""
    images = [pool.image(i) for i in chosen]
    answers = []
    for i, image in zip(chosen, images, strict=True):
        scores = probabilities(net, views_of(net, image, 10)[None])[0]
        answers.append(named(labels[pool.labels[i]], net.classes) | {"top5": top5(scores, net.classes)})
    return panels.predictions(images, answers)


def similar_panel(
    net: TrainedAlexNet,
    run: Path,
    store: Store,
    pool: StoreSplit,
    labels: Sequence[int],
    chosen: Sequence[int],
) -> Figure:
    """Figure 4, right, for images of a store."""
    train = open_split(store, "train")
    images = [pool.image(i) for i in chosen]
    points = points_of(net, torch.stack([net.preprocess(image) for image in images]))
    positions, distances = nearest(open_index(net, run, store, "train"), points, min(NEIGHBOURS, len(train)))
    queries = [
        named(labels[pool.labels[i]], net.classes)
        | {
            "nearest": [
                store.classes[train.labels[j]]._asdict() | {"distance": distance}
                for j, distance in zip(row, far, strict=True)
            ]
        }
        for i, row, far in zip(chosen, positions.tolist(), distances.tolist(), strict=True)
    ]
    return panels.similar(images, [[train.image(j) for j in row] for row in positions.tolist()], queries)


def render(result: dict[str, Any]) -> RenderableType:
    """The files, for a terminal."""
    table = Table(box=None, show_header=False)
    table.add_column("figure")
    table.add_column("file", overflow="fold")
    for name, path in result["figures"].items():
        table.add_row(name.replace("_", " "), Text(path))
    return table
