"""Top-1 and top-5 error on a store, of one network or of several together (paper, sections 4.1 and 6).

Ten views are the four corners and the centre and their mirrors; the ten softmax outputs are averaged. Several
networks: their averaged outputs are averaged again, with weights. A label that shares its score with others
gets the credit of a random order among them, so that a constant output scores chance.
"""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from alexnet.data.classes import Class
from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.model.cpu import kernels
from alexnet.progress import Progress
from alexnet.study.images import readable
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import ranks
from alexnet.training.device import choose_dtype, precision
from alexnet.training.metrics import top_k_credit

VIEWS_AT_ONCE = 128
WORST_PAIRS = 10


def evaluate(
    runs: Sequence[Path],
    store: Path,
    *,
    split: str = "val",
    views: int = 10,
    batch_size: int = 64,
    device: str = "auto",
    weights: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Test the networks of `runs`, and their ensemble, on a split of a store. Errors are fractions.

    Under torchrun each rank tests its part of the images.

    `views` is 1 (centre) or 10; `weights` are those of the ensemble, one for each run (default: equal).
    Classes are matched by wnid, whatever their order. Returns `top1_error`, `top5_error` (of the ensemble
    where there are several runs), `views`, `images`, `per_class`, `confusions` and `members`.

    Raises ValueError where runs and store do not fit each other.
    """
    if views not in (1, 10):
        raise ValueError(f"views is {views}; it must be 1 (centre) or 10 (corners, centre and their mirrors).")
    data = Store(store)
    images = open_split(data, split)
    kernels.reuse_memory()
    networks = [load(run, device) for run in runs]
    classes: tuple[Class, ...] = networks[0].classes
    columns = [matched(net.classes, classes, run, runs[0]) for net, run in zip(networks, runs, strict=True)]
    labels_in_run = store_labels(data, classes, runs[0])
    for net, run in zip(networks, runs, strict=True):
        check_size(net, data, run)
    shares = normalised(weights, len(runs))

    began = time.monotonic()
    credits: list[list[np.ndarray]] = [[] for _ in networks]  # per network: [2, B] for each batch
    ensemble: list[np.ndarray] = []
    guesses: list[np.ndarray] = []
    with (
        ranks.sharing() as here,
        Progress(f"testing on {split}", total=len(images) // here.count, silent=not here.is_first) as bar,
    ):
        threads = kernels.threads(next(networks[0].parameters()).device)
        for batch, labels, _ in in_order(images, batch_size, rows=here.part(len(images)), threads=threads):
            truth = labels_in_run[labels]
            together = torch.zeros(len(batch), len(classes))
            for net, order, share, credit in zip(networks, columns, shares, credits, strict=True):
                scores = store_probabilities(net, batch, views)[:, order]
                credit.append(both_credits(scores, truth))
                together += share * scores
            ensemble.append(both_credits(together, truth))
            guesses.append(together.argmax(1).numpy())
            bar.advance(len(batch), top1_error=f"{100 * float(1 - mean_credits(ensemble)[0]):.1f} %")
        # Each rank has tested its part of the images; the parts in the order of the ranks are all of them.
        credits = [list(chain(*parts)) for parts in zip(*here.gather(credits), strict=True)]
        ensemble, guesses = list(chain(*here.gather(ensemble))), list(chain(*here.gather(guesses)))

    truths = labels_in_run.numpy()[images.labels]
    top1, top5 = mean_credits(ensemble)
    members = [
        {
            "run": str(run),
            "top1_error": float(1 - mean_credits(credit)[0]),
            "top5_error": float(1 - mean_credits(credit)[1]),
            "views": views,
            "images": len(images),
            "weight": share,
        }
        for run, credit, share in zip(runs, credits, shares, strict=True)
    ]
    return {
        "store": str(store),
        "split": split,
        "top1_error": float(1 - top1),
        "top5_error": float(1 - top5),
        "views": views,
        "images": len(images),
        "classes": len(classes),
        "seconds": time.monotonic() - began,
        "per_class": per_class(np.concatenate(ensemble, axis=1), truths, classes),
        "confusions": confusions(np.concatenate(guesses), truths, classes),
        "members": members,
    }


def open_split(store: Store, split: str) -> StoreSplit:
    """The split `split` of the store; ValueError when it has none of that name or nothing in it."""
    if not store.splits.get(split):
        raise ValueError(f"{store.path} has no images in '{split}'; it has: {', '.join(store.splits)}.")
    return store.split(split)


def matched(classes: Sequence[Class], reference: Sequence[Class], run: Path, first: Path) -> Tensor:
    """Index in `classes` of each of `reference`, by wnid: int64 [C]. ValueError when the sets differ."""
    index = {entry.wnid: i for i, entry in enumerate(classes)}
    missing = [entry.wnid for entry in reference if entry.wnid not in index]
    if missing or len(classes) != len(reference):
        raise ValueError(
            f"{run} knows other classes than {first} ({len(classes)} and {len(reference)}; for example "
            f"{missing[0] if missing else 'none of the second is missing'}); an ensemble needs the same ones."
        )
    return torch.tensor([index[entry.wnid] for entry in reference])


def store_labels(store: Store, classes: Sequence[Class], run: Path) -> Tensor:
    """The run's label of each label of the store, by wnid: int64. ValueError for classes it does not know."""
    index = {entry.wnid: i for i, entry in enumerate(classes)}
    unknown = [entry.wnid for entry in store.classes if entry.wnid not in index]
    if unknown:
        raise ValueError(
            f"{store.path} has {len(unknown)} classes that {run} was not trained on, as "
            f"{unknown[0]}; give a store whose classes the run knows."
        )
    return torch.tensor([index[entry.wnid] for entry in store.classes])


def check_size(net: TrainedAlexNet, store: Store, run: Path) -> None:
    """ValueError unless the store's images are as large as those that the run was trained on."""
    if net.preprocess.size != store.size:
        raise ValueError(
            f"{store.path} holds images of {store.size} pixels, {run} was trained on "
            f"{net.preprocess.size}; prepare the images again with --size {net.preprocess.size}."
        )


def normalised(weights: Sequence[float] | None, count: int) -> list[float]:
    """Weights that sum to 1; ValueError unless there is one for each run, none negative and not all zero."""
    if weights is None:
        return [1 / count] * count
    if len(weights) != count or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights are {list(weights)}; give {count} numbers, none negative and not all zero.")
    return [weight / sum(weights) for weight in weights]


@torch.inference_mode()
def probabilities(net: TrainedAlexNet, views: Tensor) -> Tensor:
    """Average softmax output over the views of each image: float32 [B, V, 3, C, C] to [B, classes] on the
    CPU.

    Runs in the run's number format on the network's device, `VIEWS_AT_ONCE` views at a time; softmax and
    average are float32.
    """
    device = next(net.parameters()).device
    outputs = []
    with precision(device, choose_dtype(net.config.dtype, device)):
        for part in views.flatten(0, 1).split(VIEWS_AT_ONCE):
            part = part.to(device).contiguous(memory_format=torch.channels_last)
            outputs.append(net(part).float().softmax(1))
    return torch.cat(outputs).unflatten(0, views.shape[:2]).mean(1).cpu()


def store_probabilities(net: TrainedAlexNet, images: Tensor, views: int) -> Tensor:
    """`probabilities` of whole images, uint8 [B, S, S, 3] from the loader: float32 [B, classes]."""
    device = next(net.parameters()).device
    return probabilities(net, net.preprocess.views(images.to(device), views))


def both_credits(scores: Tensor, labels: Tensor) -> np.ndarray:
    """Top-1 and top-5 credit of each image: float64 [2, B]."""
    return np.stack([top_k_credit(scores, labels, k).numpy() for k in (1, 5)])


def mean_credits(batches: list[np.ndarray]) -> np.ndarray:
    """Mean over all images of batches [2, B]: float64 [2]."""
    return np.concatenate(batches, axis=1).mean(axis=1)


def per_class(credits: np.ndarray, truths: np.ndarray, classes: Sequence[Class]) -> list[dict[str, Any]]:
    """Errors for each class that has images; credits [2, N], truths int64 [N]."""
    rows = []
    for label in np.unique(truths).tolist():
        top1, top5 = credits[:, truths == label].mean(axis=1)
        rows.append(
            {
                "wnid": classes[label].wnid,
                "name": classes[label].name,
                "images": int((truths == label).sum()),
                "top1_error": float(1 - top1),
                "top5_error": float(1 - top5),
            }
        )
    return rows


def confusions(guesses: np.ndarray, truths: np.ndarray, classes: Sequence[Class]) -> list[dict[str, Any]]:
    """The pairs (true, predicted), both int64 [N], confused most often; `of` counts the true class."""
    sizes = np.bincount(truths, minlength=len(classes))
    wrong = guesses != truths
    pairs = Counter(zip(truths[wrong].tolist(), guesses[wrong].tolist(), strict=True))
    worst = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:WORST_PAIRS]
    return [
        {
            "true": classes[true].wnid,
            "true_name": classes[true].name,
            "predicted": classes[guess].wnid,
            "predicted_name": classes[guess].name,
            "count": count,
            "of": int(sizes[true]),
        }
        for (true, guess), count in worst
    ]


def render(result: dict[str, Any], rows: int = 20) -> RenderableType:
    """Tables for a terminal: the networks, the `rows` hardest classes, the worst confusions."""
    views = "ten views" if result["views"] == 10 else "centre view"
    members = result["members"]
    errors = table("network", "top-1 error", "top-5 error")
    for member in members:
        errors.add_row(Text(member["run"]), percent(member["top1_error"]), percent(member["top5_error"]))
    if len(members) > 1:
        errors.add_section()
        all_of_them = f"all {len(members)} together"
        errors.add_row(all_of_them, percent(result["top1_error"]), percent(result["top5_error"]))
    parts = [heading(f"{result['images']} images of '{result['split']}', {views}"), errors]

    hardest = sorted(result["per_class"], key=lambda row: -row["top1_error"])
    classes = table("class", "images", "top-1 error", "top-5 error")
    for row in hardest[:rows]:
        numbers = (str(row["images"]), percent(row["top1_error"]), percent(row["top5_error"]))
        classes.add_row(Text(readable(row["name"])), *numbers)
    some = f"The {rows} hardest of {len(hardest)} classes" if len(hardest) > rows else "Classes, hardest first"
    parts += [heading(some), classes]

    pairs = table("it is", "times", "taken for")
    pairs.columns[2].justify = "left"
    for pair in result["confusions"]:
        times = f"{pair['count']} of {pair['of']}"
        pairs.add_row(Text(readable(pair["true_name"])), times, Text(readable(pair["predicted_name"])))
    if result["confusions"]:
        parts += [heading("Most often confused"), pairs]
    return Group(*parts)


def heading(words: str) -> Text:
    """A line over a table; a table's own title would be broken to its width."""
    return Text(words, style="bold")


def table(first: str, *others: str) -> Table:
    """An empty table: words in the first column, numbers in the others."""
    empty = Table()
    empty.add_column(first, overflow="fold")
    for name in others:
        empty.add_column(name, justify="right")
    return empty


def percent(fraction: float) -> str:
    """0.4066 as "40.7 %"."""
    return f"{100 * fraction:.1f} %"
