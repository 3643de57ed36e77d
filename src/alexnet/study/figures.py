"""All figures of a run: conv1's kernels, learning curves, activation maps, and the panels of the paper's figure 4.

Files go to `RUN/figures/`, or to the folder that is asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from alexnet.data.store.reader import Store, StoreSplit
from alexnet.progress import Progress
from alexnet.ranges import Seed, checked
from alexnet.study import curves, drawing, matrix_figure, panels, plots
from alexnet.study.activations import activations, parse_layers
from alexnet.study.class_names import short_name, true_label
from alexnet.study.doubts import at_chance
from alexnet.study.index import BATCH_SIZE, embed, nearest_images, open_index
from alexnet.study.matching import check_size, open_split, run_labels
from alexnet.study.outcomes import most_wrong, outcomes
from alexnet.study.outputs import advice_where_unwritable, check_output, warn
from alexnet.study.random_weights import warn_if_random
from alexnet.study.scores import count_confusions, image_probabilities, probabilities, top5
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training.metrics import read_lines

PREDICTED, QUERIES, NEIGHBOURS = 8, 5, 6
"""As in figure 4: eight images with their labels, five with the six nearest."""
TRIED = 2000
"""Images among which the most wrong ones are looked for."""
Format = Literal["png", "pdf", "svg"]


@checked
def figures(
    run: Path,
    store: Path | None = None,
    *,
    image: Path | None = None,
    layer: str = "conv1",
    split: str = "val",
    out: Path | None = None,
    format: Format = "png",
    device: str = "auto",
    seed: Seed = 0,
    force: bool = False,
) -> dict[str, Any]:
    """Draw all figures of a run to the folder `out` (default: `RUN/figures`), over the files that are there if `force`.

    These are conv1's kernels and the learning curves. With `image` or `store`, also the activation maps of `layer` (or
    of several, separated by commas) for that image, or for one of the store. With a store also eight images of `split`
    with their five most probable labels, the confusion matrix of up to 2,000 images (centre view) and the eight most
    wrong of them, and the training images nearest to five; `seed` chooses them, from as many classes as possible.

    Returns `checkpoint`, `random_weights` (why the network looks untrained; None where it looks trained), `warnings`
    and `figures`, the path of each file by name. Raises ValueError when run and store do not fit
    each other, and for a folder that cannot be written.
    """
    net = load(run, device)
    random_weights = warn_if_random(net, run)
    doubts = [] if random_weights else [warn(sentence) for sentence in at_chance(net, run)]
    layers = parse_layers(net, layer)
    folder = out or run / "figures"
    maps = [f"activations_{name}" for name in layers] if image is not None or store is not None else []
    names = [
        "conv1_kernels",
        "learning_curves",
        *maps,
        *(("predictions", "confusion_matrix", "mistakes", "similar") if store else ()),
    ]
    paths = {name: folder / f"{name}.{format}" for name in names}
    for path in paths.values() if out is not None else ():
        check_output(path, force)
    shown = None if image is None else net.preprocess.pixels(image)
    drawn = {"conv1_kernels": plots.kernels(net.conv1.weight.detach().float().cpu().numpy(), net.network.towers)}
    if (run / "metrics.jsonl").exists():
        drawn["learning_curves"] = run_curves(run)
    if store is not None:
        data = Store(store)
        panels_of_store, first = store_panels(net, run, data, open_split(data, split), seed, folder)
        drawn |= panels_of_store
        shown = first if shown is None else shown
    if shown is not None:
        outputs = activations(net, net.preprocess(shown)[None], layers)
        for name in layers:
            drawn[f"activations_{name}"] = plots.activations(
                outputs[name][0], shown, name, net.network.towers, classes_of(net, name)
            )
    with advice_where_unwritable(folder):
        for name, figure in drawn.items():
            drawing.save(figure, paths[name])
    return {
        "run": str(run),
        "checkpoint": str(net.checkpoint),
        "random_weights": random_weights,
        "warnings": doubts,
        "figures": {name: str(paths[name]) for name in drawn},
    }


def run_curves(run: Path) -> Figure:
    """The learning curves of a run."""
    lines = read_lines(run / "metrics.jsonl")
    steps = [line for line in lines if "learning_rate" in line]
    return curves.learning_curves(steps, [line for line in lines if line.get("evaluation") == "val"])


def classes_of(net: TrainedAlexNet, layer: str) -> list[str]:
    """The names of the outputs of the last layer; of another layer, none."""
    return [short_name(entry.name) for entry in net.classes] if layer == net.layers[-1].name else []


def store_panels(
    net: TrainedAlexNet, run: Path, data: Store, pool: StoreSplit, seed: int, folder: Path
) -> tuple[dict[str, Figure], np.ndarray]:
    """The panels of the images of a store, and the first image, uint8 [S, S, 3]. The index goes beside `folder`."""
    check_size(net, data, run)
    labels = run_labels(data, net.classes, run).tolist()
    chosen = from_different_classes(pool.labels, PREDICTED, seed)
    drawn = {"predictions": predictions_panel(net, pool, labels, chosen)}
    tried = from_different_classes(pool.labels, TRIED, seed)
    truths = np.array(labels)[pool.labels[tried]]
    found = tested(net, pool, tried, truths)
    counts = count_confusions(found["guess"].astype(np.int64), truths, len(net.classes))
    drawn["confusion_matrix"] = matrix_figure.confusions(counts, [short_name(each.name) for each in net.classes])
    if wrong := [tried[index] for index in most_wrong(found, truths, PREDICTED)]:
        drawn["mistakes"] = predictions_panel(net, pool, labels, wrong, views=1)
    if data.splits.get("train"):
        drawn["similar"] = similar_panel(net, folder.parent / "index", data, pool, labels, chosen[:QUERIES])
    return drawn, pool.image(chosen[0])


def tested(net: TrainedAlexNet, pool: StoreSplit, tried: Sequence[int], truths: np.ndarray) -> np.ndarray:
    """What the network says of the centre view of the images `tried`, whose classes are `truths`: `OUTCOME` [N]."""
    found = []
    with Progress("finding mistakes", len(tried)) as bar:
        for first in range(0, len(tried), BATCH_SIZE):
            part = slice(first, first + BATCH_SIZE)
            scores = image_probabilities(net, torch.from_numpy(np.stack([pool.image(i) for i in tried[part]])), 1)
            found.append(outcomes(scores, torch.tensor(truths[part])))
            bar.advance(len(scores))
    return np.concatenate(found)


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


def predictions_panel(
    net: TrainedAlexNet, pool: StoreSplit, labels: Sequence[int], chosen: Sequence[int], views: int = 10
) -> Figure:
    """Figure 4, left, of the images `chosen` of a store; `labels` are the run's for each class of the store."""
    images = [pool.image(i) for i in chosen]
    answers = []
    for i, image in zip(chosen, images, strict=True):
        scores = probabilities(net, net.preprocess.image_views(image, views)[None])[0]
        name = {"path": pool.key(i)}
        answers.append(name | true_label(labels[pool.labels[i]], net.classes) | {"top5": top5(scores, net.classes)})
    return panels.predictions(images, answers)


def similar_panel(
    net: TrainedAlexNet, index: Path, store: Store, pool: StoreSplit, labels: Sequence[int], chosen: Sequence[int]
) -> Figure:
    """Figure 4, right, of the images `chosen` of a store; `labels` are the run's for each class of the store, `index`
    is the folder of the index."""
    train = open_split(store, "train")
    images = [pool.image(i) for i in chosen]
    vectors = embed(net, torch.stack([net.preprocess(image) for image in images]))
    found = nearest_images(open_index(net, index, store, "train"), vectors, NEIGHBOURS, train, store.classes)
    queries = [
        true_label(labels[pool.labels[i]], net.classes) | {"nearest": row} for i, row in zip(chosen, found, strict=True)
    ]
    return panels.similar(images, [[train.image(each["index"]) for each in row] for row in found], queries)


def render(result: dict[str, Any]) -> RenderableType:
    """The files that were written, for a terminal."""
    table = Table(box=None, show_header=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("file", overflow="fold")
    for name, path in result["figures"].items():
        table.add_row(name.replace("_", " "), Text(path))
    return table
