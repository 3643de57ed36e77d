"""Top-1 and top-5 error on a store, of one network or of an ensemble (paper, sections 4.1 and 6).

The averaged softmax outputs of an ensemble's networks are averaged again, with weights.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.files.words import counted
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.ranges import BatchSize, UsageError, checked
from alexnet.study.class_names import short_name
from alexnet.study.doubts import same_label
from alexnet.study.matching import check_size, class_order, open_split, run_labels
from alexnet.study.outputs import warn
from alexnet.study.scores import (
    check_views,
    confusions,
    errors,
    errors_and_intervals,
    image_probabilities,
    per_class,
    percent,
    top1_top5_credits,
)
from alexnet.study.tables import heading, table
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import meeting, ranks
from alexnet.training.metrics import with_interval
from alexnet.training.run_folder import fingerprint


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
    guesses: np.ndarray
    """Its most probable class, int64 [N]."""


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
) -> dict[str, Any]:
    """Test the networks of `runs`, and their ensemble, on a split of a store. Errors are fractions.

    `views` is 1 (centre) or 10; `weights` are those of the ensemble's average, one per run (default: equal). Classes
    are matched by wnid, whatever their order. Under torchrun each rank tests its part of the images.

    Returns `top1_error` and `top5_error` (of the ensemble where there are several runs) with their 95 % intervals
    `top1_interval` and `top5_interval`, `views`, `images`, `per_class`, `confusions`, `members` (each with its
    `checkpoint`) and `warnings`. Raises ValueError when runs and store do not fit each other.
    """
    kernels.reuse_memory()
    members, images, labels = meeting.meet(lambda: _prepare(runs, store, split, views, device, weights))
    classes = members[0].net.classes
    began = time.monotonic()
    scored = score(members, images, labels, views, batch_size, split)
    truths = labels.numpy()[images.labels]
    return {
        "store": str(store),
        "split": split,
        **errors_and_intervals(scored.ensemble),
        "views": views,
        "images": len(images),
        "classes": len(classes),
        "seconds": time.monotonic() - began,
        "per_class": per_class(scored.ensemble, truths, classes),
        "confusions": confusions(scored.guesses, truths, classes),
        "warnings": [warn(sentence) for sentence in same_label(scored.guesses, truths, classes)],
        "members": [
            {"run": str(member.run), "checkpoint": str(member.net.checkpoint)}
            | errors_and_intervals(credits)
            | {"views": views, "images": len(images), "weight": member.weight}
            for member, credits in zip(members, scored.members, strict=True)
        ],
    }


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
    guesses: list[np.ndarray] = []
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
            guesses.append(average.argmax(1).numpy())
            so_far = errors(np.concatenate(ensemble, axis=1))
            bar.advance(len(batch), top1_error=percent(so_far["top1_error"]))
        # Rank by rank, the parts of all ranks are the whole split in its order.
        per_member = [list(chain(*parts)) for parts in zip(*here.gather(per_member), strict=True)]
        ensemble, guesses = list(chain(*here.gather(ensemble))), list(chain(*here.gather(guesses)))
    return Scored(
        [np.concatenate(credits, axis=1) for credits in per_member],
        np.concatenate(ensemble, axis=1),
        np.concatenate(guesses),
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
    return Group(*parts)


def shown_errors(errors: dict[str, Any]) -> list[str]:
    """Top-1 and top-5 error with their intervals; `errors` also has `images`."""
    return [with_interval(errors[f"top{k}_error"], errors["images"]) for k in (1, 5)]
