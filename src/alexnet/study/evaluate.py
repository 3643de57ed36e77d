"""Top-1 and top-5 error on a store, of one network or of an ensemble (paper, sections 4.1 and 6).

The averaged softmax outputs of an ensemble's networks are averaged again, with weights.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files.printable import printable
from alexnet.files.words import counted
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.ranges import BatchSize, UsageError, checked
from alexnet.study.class_names import short_name, true_label
from alexnet.study.doubts import same_label
from alexnet.study.matching import check_size, class_order, open_split, run_labels
from alexnet.study.outcomes import most_wrong, outcomes, write_outcomes
from alexnet.study.outputs import check_csv, check_figure, warn
from alexnet.study.scores import (
    balanced,
    check_views,
    confusions,
    count_confusions,
    errors,
    errors_and_intervals,
    image_probabilities,
    per_class,
    percent,
    top1_top5_credits,
    top5,
)
from alexnet.study.tables import heading, table
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import meeting, ranks
from alexnet.training.metrics import in_words, with_interval
from alexnet.training.run_folder import fingerprint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_IN_MATRIX = 2000
"""Classes of a confusion matrix in a result: it has four million numbers then."""
WORST = 12
"""Images of a panel."""


@dataclass(frozen=True)
class Member:
    """One network of an ensemble."""

    run: Path
    net: TrainedAlexNet
    order: Tensor
    """int64 [classes]: index among its outputs of each class of the first network."""
    weight: float
    """In the ensemble's average; all weights sum to 1."""


@dataclass(frozen=True)
class Scored:
    """What was counted over N images."""

    members: list[np.ndarray]
    """Top-1 and top-5 credits of each network, float64 [2, N]."""
    ensemble: np.ndarray
    """Those of the averaged output, float64 [2, N]."""
    outcomes: np.ndarray
    """What it says of each image, `OUTCOME` [N]."""


@checked
def evaluate(
    runs: Sequence[Path],
    store: Path,
    *,
    split: str = "val",
    views: int = 10,
    batch_size: BatchSize = 64,
    device: str = "auto",
    weights: Sequence[float] | None = None,
    csv: Path | None = None,
    panel: Path | None = None,
    figure: Path | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Test the networks of `runs`, and their ensemble, on a split of a store. Errors are fractions.

    `views` is 1 (centre) or 10; `weights` are those of the ensemble's average, one per run (default: equal). Classes
    are matched by wnid, whatever their order. Under torchrun each rank tests its part of the images.

    Returns `top1_error` and `top5_error` (of the ensemble where there are several runs) with their 95 % intervals
    `top1_interval` and `top5_interval`, `balanced_error` with `balanced_interval` (the mean of the classes' top-1
    errors), `views`, `images`, `per_class`, `confusions`, `confusion_matrix` (`wnids`, and `counts` with a row for each
    true class; None for more than `MOST_IN_MATRIX` classes), `members` (each with its `checkpoint`) and `warnings`.

    `csv` is a file for a table of all images (`outcomes.COLUMNS`), `panel` one for the `WORST` wrong labels of which
    the network is surest (none is written where all labels are right), `figure` one for the confusion matrix. They
    replace other files if `force`, and are of the ensemble where there are several runs. Raises ValueError when runs
    and store do not fit each other.
    """
    check_csv(csv, force)
    check_figure(panel, force)
    check_figure(figure, force)
    kernels.reuse_memory()
    members, images, labels = meeting.meet(lambda: _prepare(runs, store, split, views, device, weights))
    classes = members[0].net.classes
    began = time.monotonic()
    scored = score(members, images, labels, views, batch_size, split)
    truths = labels.numpy()[images.labels]
    guesses = scored.outcomes["guess"].astype(np.int64)
    matrix = count_confusions(guesses, truths, len(classes))
    wnids = [each.wnid for each in classes]
    result = {
        "store": str(store),
        "split": split,
        **errors_and_intervals(scored.ensemble),
        **balanced(scored.ensemble, truths),
        "views": views,
        "images": len(images),
        "classes": len(classes),
        "seconds": time.monotonic() - began,
        "per_class": per_class(scored.ensemble, truths, classes),
        "confusions": confusions(guesses, truths, classes),
        "confusion_matrix": {"wnids": wnids, "counts": matrix.tolist()} if len(classes) <= MOST_IN_MATRIX else None,
        "warnings": [warn(sentence) for sentence in same_label(guesses, truths, classes)],
        "members": [
            {"run": str(member.run), "checkpoint": str(member.net.checkpoint)}
            | errors_and_intervals(credits)
            | balanced(credits, truths)
            | {"views": views, "images": len(images), "weight": member.weight}
            for member, credits in zip(members, scored.members, strict=True)
        ],
    }
    if os.environ.get("RANK", "0") != "0":  # of the processes of torchrun, the first one writes
        return result
    if csv is not None:
        write_outcomes(csv, images.key, scored.outcomes, truths, classes)
        result["csv"] = str(csv)
    if panel is not None or figure is not None:
        from alexnet.study import drawing, matrix_figure  # only here: matplotlib takes longer than a small test

        wrong = most_wrong(scored.outcomes, truths, WORST)
        if figure is not None:
            drawing.save(matrix_figure.confusions(matrix, [short_name(each.name) for each in classes]), figure)
            result["figure"] = str(figure)
        if panel is not None and wrong:
            drawing.save(panel_of(members, images, wrong, truths, views), panel)
            result["panel"] = str(panel)
    return result


def panel_of(
    members: Sequence[Member], images: StoreSplit, chosen: Sequence[int], truths: np.ndarray, views: int
) -> "Figure":
    """The images `chosen` with their most probable labels, as in figure 4 of the paper; truths int64 [N]."""
    from alexnet.study import panels

    classes = members[0].net.classes
    shown = [images.image(index) for index in chosen]
    answers = [
        {"path": images.key(index), **true_label(int(truths[index]), classes), "top5": top5(scores, classes)}
        for index, scores in zip(chosen, averaged(members, torch.from_numpy(np.stack(shown)), views), strict=True)
    ]
    return panels.predictions(shown, answers)


def averaged(members: Sequence[Member], images: Tensor, views: int) -> Tensor:
    """The ensemble's output: uint8 [B, S, S, 3] to float32 [B, classes]."""
    outputs = (member.weight * image_probabilities(member.net, images, views)[:, member.order] for member in members)
    return torch.stack(list(outputs)).sum(0)


def _prepare(
    runs: Sequence[Path], store: Path, split: str, views: int, device: str, weights: Sequence[float] | None
) -> tuple[tuple[list["Member"], StoreSplit, Tensor], dict[str, str]]:
    """Networks, images and the networks' labels of the store's classes; and what all ranks must have in common."""
    check_views(views)
    data = Store(store)
    images = open_split(data, split)
    members = load_members(runs, device, weights)
    labels = run_labels(data, members[0].net.classes, runs[0])
    for member in members:
        check_size(member.net, data, member.run)
    facts = ranks.common_facts([member.net.checkpoint for member in members]) | {"store": fingerprint(data)}
    return (members, images, labels), facts


def load_members(runs: Sequence[Path], device: str, weights: Sequence[float] | None) -> list[Member]:
    """The networks of `runs`. ValueError when their classes differ or the weights are not one for each."""
    networks = [load(run, device) for run in runs]
    classes: tuple[Class, ...] = networks[0].classes
    orders = [class_order(net.classes, classes, run, runs[0]) for net, run in zip(networks, runs, strict=True)]
    return [Member(*each) for each in zip(runs, networks, orders, normalised(weights, len(runs)), strict=True)]


def normalised(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights that sum to 1. ValueError unless there are `count`, none negative and not all zero."""
    if weights is None:
        return [1 / count] * count
    if len(weights) != count or min(weights) < 0 or sum(weights) <= 0:
        raise UsageError(f"weights are {list(weights)}; give {count} numbers, none negative and not all zero.")
    return [weight / sum(weights) for weight in weights]


def score(
    members: Sequence[Member], images: StoreSplit, labels: Tensor, views: int, batch_size: int, split: str
) -> Scored:
    """Test all networks on all images; `labels` are the networks' for each class of the store."""
    classes = len(members[0].order)
    per_member: list[list[np.ndarray]] = [[] for _ in members]  # of each batch: [2, B]
    ensemble: list[np.ndarray] = []
    found: list[np.ndarray] = []
    with (
        ranks.sharing() as here,
        Progress(f"testing on {split}", total=len(images) // here.count, silent=not here.is_first) as bar,
    ):
        threads = kernels.threads(next(members[0].net.parameters()).device)
        for batch, store_labels, _ in in_order(images, batch_size, rows=here.part(len(images)), threads=threads):
            truths = labels[store_labels]
            average = torch.zeros(len(batch), classes)
            for member, credits in zip(members, per_member, strict=True):
                scores = image_probabilities(member.net, batch, views)[:, member.order]
                credits.append(top1_top5_credits(scores, truths))
                average += member.weight * scores
            ensemble.append(top1_top5_credits(average, truths))
            found.append(outcomes(average, truths))
            so_far = errors(np.concatenate(ensemble, axis=1))
            bar.advance(len(batch), top1_error=percent(so_far["top1_error"]))
        # Rank by rank, the parts of all ranks are the whole split in its order.
        per_member = [list(chain(*parts)) for parts in zip(*here.gather(per_member), strict=True)]
        ensemble, found = list(chain(*here.gather(ensemble))), list(chain(*here.gather(found)))
    return Scored(
        [np.concatenate(credits, axis=1) for credits in per_member],
        np.concatenate(ensemble, axis=1),
        np.concatenate(found),
    )


def render(result: dict[str, Any], rows: int = 20) -> RenderableType:
    """Tables for a terminal: errors of each network and of the ensemble, the `rows` hardest classes, confusions."""
    views = "ten views" if result["views"] == 10 else "centre view"
    members = result["members"]
    networks = table("network", "step", "top-1 error", "top-5 error")
    for member in members:
        step = Path(member["checkpoint"]).name.removeprefix("step-").lstrip("0")
        networks.add_row(Text(member["run"]), step, *shown_errors(member))
    if len(members) > 1:
        networks.add_section()
        networks.add_row(f"ensemble of {len(members)}", "", *shown_errors(result))
    title = f"{counted(result['images'], 'image')} of '{result['split']}', {views}; in brackets the 95 % interval"
    parts = [heading(title), networks]
    if len(result["per_class"]) <= 5:
        parts.append(Text("Of five classes or fewer, the right one is among any five: the top-5 error says nothing."))
    sizes = [row["images"] for row in result["per_class"]]
    if min(sizes) < max(sizes):
        error = in_words(result["balanced_error"], result["balanced_interval"])
        parts.append(Text(f"Balanced error, the mean of all classes' top-1 errors: {error}"))
        parts.append(Text(f"The classes have {min(sizes):,} to {max(sizes):,} images."))

    hardest = sorted(result["per_class"], key=lambda row: -row["top1_error"])
    classes = table("class", "images", "top-1 error", "top-5 error")
    for row in hardest[:rows]:
        classes.add_row(Text(short_name(row["name"])), str(row["images"]), *shown_errors(row))
    some = f"The {rows} hardest of {len(hardest)} classes" if len(hardest) > rows else "Classes, hardest first"
    parts += [heading(some), classes]

    pairs = table("true class", "predicted class", "times", texts=2)
    for pair in result["confusions"]:
        names = (Text(short_name(pair[key])) for key in ("true_name", "predicted_name"))
        pairs.add_row(*names, f"{pair['count']} of {pair['of']}")
    if result["confusions"]:
        parts += [heading("Most frequent confusions"), pairs]
    files = {"csv": "A row for each image", "panel": "The most wrong images", "figure": "The confusion matrix"}
    parts += [Text(printable(f"{what}: {result[key]}")) for key, what in files.items() if key in result]
    return Group(*parts)


def shown_errors(errors: dict[str, Any]) -> list[str]:
    """Top-1 and top-5 error with their intervals; `errors` also has `images`."""
    return [with_interval(errors[f"top{k}_error"], errors["images"]) for k in (1, 5)]
