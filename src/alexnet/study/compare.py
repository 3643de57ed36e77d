"""Compare networks: how often they agree, how their errors differ, and how alike their layers see the same images.

Two runs, one run with itself (its layers with each other), all pairs of several runs, or several runs of each of two
sides: then the pairs across are set beside those within each side, which show how far seeds alone go.
"""

import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files import durable
from alexnet.files.folders import check_folder
from alexnet.files.rows import RowFile, make_rows
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.ranges import BatchSize, CountOrNone, Seed, UsageError, checked
from alexnet.study.activations import parse_layers
from alexnet.study.compare_tables import render, summary
from alexnet.study.grams import grams
from alexnet.study.matching import check_size, class_order, open_split, run_labels
from alexnet.study.outputs import check_output
from alexnet.study.paired import agreement, compare_errors
from alexnet.study.random_weights import warn_if_random
from alexnet.study.scores import check_views, errors_and_intervals, image_probabilities, top1_top5_credits
from alexnet.study.similarity import FEWEST, MEASURES, scalar_products, vectors
from alexnet.study.trained import TrainedAlexNet, load

__all__ = ["compare", "render"]

FORMATS = ("png", "pdf", "svg")


@dataclass(frozen=True)
class Side:
    """A network to compare, and what it answers."""

    run: Path
    side: str
    """`a` or `b`."""
    net: TrainedAlexNet
    layers: list[str]
    random_weights: str | None


@dataclass(frozen=True)
class Answers:
    """Of one network, over N images."""

    guesses: np.ndarray | None
    """Labels in the order of the first run's classes, int64 [N]; None for a network with other classes."""
    credits: np.ndarray | None
    """Top-1 and top-5, float64 [2, N]; None where the store has classes that the run does not know."""


@checked
def compare(
    runs: Sequence[Path],
    store: Path,
    *,
    against: Sequence[Path] = (),
    layer: str = "",
    split: str = "val",
    images: CountOrNone = 1000,
    seed: Seed = 0,
    views: int = 1,
    out: Path | None = None,
    format: str = "png",
    device: str = "auto",
    batch_size: BatchSize = 64,
    force: bool = False,
) -> dict[str, Any]:
    """Compare the networks of `runs` on a split of a store: one run with itself, all pairs of several, or, with
    `against`, each with each of those.

    Agreement and errors are measured on all images of the split, from `views` (1 or 10) of each. The layers are
    compared on `images` of them (0: all), drawn with `seed`, from the centre view: those named in `layer`, separated by
    commas, or by default each activation and the last layer. In the folder `out`, `compare.json` holds the result and
    `compare.png` (or `.pdf`, `.svg`: `format`) shows it.

    Returns `runs` (with `layers`, errors and intervals; the errors are None where the store has classes that a run does
    not know), `pairs` (`a` and `b`, indices of runs; `kind`: `across` or `within`; `agreement`, differences of errors,
    and a matrix, layers of `a` by layers of `b`, for each of `similarity.MEASURES`), `summary` (mean and standard
    deviation over pairs, for layers of the same name) and `compared_images`. Raises ValueError where runs and store do
    not fit each other.
    """
    check_views(views)
    if format not in FORMATS:
        raise UsageError(f"There is no format '{format}'; give {', '.join(FORMATS)}.")
    if images != 0 and images < FEWEST:
        raise UsageError(f"images is {images}; {FEWEST} or more can be compared, and 0 stands for all.")
    files = output_files(out, format, force)
    data = Store(store)
    shown = open_split(data, split)
    kernels.reuse_memory()
    sides = [open_side(run, "a", layer, data, device) for run in runs]
    sides += [open_side(run, "b", layer, data, device) for run in against]
    answers = answer(sides, data, shown, views, batch_size, split)
    indices = draw(len(shown), images, seed)
    matrices = compare_layers(sides, shown, indices)
    pairs = [
        {"a": a, "b": b, "kind": "within" if against and sides[a].side == sides[b].side else "across"}
        | compare_answers(answers[a], answers[b])
        | {measure: matrices[measure][a][b] for measure in MEASURES}
        for a, b in chosen_pairs(sides)
    ]
    described = [describe(side, found) for side, found in zip(sides, answers, strict=True)]
    result = {
        "store": str(store),
        "split": split,
        "images": len(shown),
        "views": views,
        "compared_images": len(indices),
        "seed": seed,
        "runs": described,
        "pairs": pairs,
        "summary": summary(described, pairs),
        "files": {name: str(path) for name, path in files.items()},
    }
    if files:
        from alexnet.study import compare_figures, drawing  # imported only here: matplotlib takes a second

        files["figure"].parent.mkdir(parents=True, exist_ok=True)
        drawing.save(compare_figures.figure(result), files["figure"])
        durable.write_json(files["json"], result)
    return json.loads(json.dumps(result))


def output_files(out: Path | None, format: str, force: bool) -> dict[str, Path]:
    """The files in the folder `out`, by what they hold; none without it. ValueError where one is there, unless
    `force`."""
    if out is None:
        return {}
    check_folder(out)
    files = {"json": out / "compare.json", "figure": out / f"compare.{format}"}
    for file in files.values():
        check_output(file, force)
    return files


def open_side(run: Path, side: str, layer: str, data: Store, device: str) -> Side:
    """A run with its network and the layers to compare. ValueError for an unknown layer, and for other image sizes."""
    net = load(run, device)
    check_size(net, data, run)
    default = [each.name for each in net.layers if each.kind == "activation"] + [net.layers[-1].name]
    return Side(run, side, net, parse_layers(net, layer) if layer else default, warn_if_random(net, run))


def chosen_pairs(sides: Sequence[Side]) -> list[tuple[int, int]]:
    """The pairs to compare: those across sides first; a single run with itself."""
    every = list(itertools.combinations(range(len(sides)), 2)) or [(0, 0)]
    return sorted(every, key=lambda pair: (sides[pair[0]].side == sides[pair[1]].side, pair))


def draw(count: int, wanted: int, seed: int) -> np.ndarray:
    """The numbers of `wanted` of `count` images (0: all), sorted: int64 [N]. ValueError for too few."""
    if count < FEWEST:
        raise ValueError(f"The split has {count} images; layers are compared on {FEWEST} or more.")
    if wanted == 0 or wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


def answer(
    sides: Sequence[Side], data: Store, images: StoreSplit, views: int, batch_size: int, split: str
) -> list[Answers]:
    """What each network answers to all images, and what that earns."""
    first = sides[0]
    orders = [order_of(side, first) for side in sides]
    labels = [labels_of(data, side) for side in sides]
    guesses: list[list[Tensor]] = [[] for _ in sides]
    credits: list[list[np.ndarray]] = [[] for _ in sides]
    with Progress(f"testing on {split}", total=len(images)) as bar:
        threads = kernels.threads(next(first.net.parameters()).device)
        for batch, truths, _ in in_order(images, batch_size, threads=threads):
            for i, side in enumerate(sides):
                scores = image_probabilities(side.net, batch, views)
                order, known = orders[i], labels[i]
                if order is not None:
                    guesses[i].append(scores[:, order].argmax(1))
                if known is not None:
                    credits[i].append(top1_top5_credits(scores, known[truths]))
            bar.advance(len(batch))
    return [
        Answers(torch.cat(given).numpy() if given else None, np.concatenate(earned, axis=1) if earned else None)
        for given, earned in zip(guesses, credits, strict=True)
    ]


def order_of(side: Side, first: Side) -> Tensor | None:
    """Index among a network's outputs of each class of the first one; None for other classes."""
    try:
        return class_order(side.net.classes, first.net.classes, side.run, first.run)
    except ValueError:
        return None


def labels_of(data: Store, side: Side) -> Tensor | None:
    """A run's label of each class of the store; None where it does not know one."""
    try:
        return run_labels(data, side.net.classes, side.run)
    except ValueError:
        return None


def compare_answers(a: Answers, b: Answers) -> dict[str, Any]:
    """Agreement and differences of errors, as far as they are known."""
    found: dict[str, Any] = {}
    if a.guesses is not None and b.guesses is not None:
        found |= agreement(a.guesses, b.guesses)
    if a.credits is not None and b.credits is not None:
        found |= compare_errors(a.credits, b.credits)
    return found


def compare_layers(
    sides: Sequence[Side], images: StoreSplit, indices: np.ndarray
) -> dict[str, list[list[list[list[float | None]]]]]:
    """For each measure and each pair of networks the matrix of similarities, layers by layers; None where a layer is
    the same for all images. The vectors of pairs are kept in temporary files (in the folder that TMPDIR names)."""
    count = len(indices) * (len(indices) - 1) // 2
    with tempfile.TemporaryDirectory(prefix="alexnet-compare-") as folder:
        files: dict[str, list[RowFile]] = {measure: [] for measure in MEASURES}
        total = len(indices) * sum(len(side.layers) for side in sides)
        with Progress("comparing layers", total=total, unit="rows") as bar:
            for number, side in enumerate(sides):
                for layer, products in grams(side.net, images, indices, side.layers, bar):
                    for measure, vector in vectors(products):
                        file = Path(folder) / f"{number}-{layer}-{measure}.npy"
                        make_rows(file, (count,))
                        files[measure].append(RowFile(file))
                        files[measure][-1].write(0, vector)
        ends = np.cumsum([len(side.layers) for side in sides])[:-1]
        return {
            measure: [
                [block(part) for part in np.split(rows, ends, axis=1)]
                for rows in np.split(scalar_products(of_measure), ends, axis=0)
            ]
            for measure, of_measure in files.items()
        }


def block(matrix: np.ndarray) -> list[list[float | None]]:
    """A matrix as JSON values, rounded to six digits."""
    return [[None if np.isnan(value) else round(float(value), 6) for value in row] for row in matrix]


def describe(side: Side, found: Answers) -> dict[str, Any]:
    """A run as JSON values."""
    errors = {key: None for k in (1, 5) for key in (f"top{k}_error", f"top{k}_interval")}
    return {
        "run": str(side.run),
        "side": side.side,
        "checkpoint": str(side.net.checkpoint),
        "random_weights": side.random_weights,
        "layers": side.layers,
    } | (errors if found.credits is None else errors_and_intervals(found.credits))
