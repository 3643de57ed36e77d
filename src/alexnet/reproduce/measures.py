"""What is measured of a trained network beside its errors: each by a function of its own, with the last checkpoint.

A measure returns numbers, arrays and panels that are small enough to travel. It needs the run folder only once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.model.cpu import kernels as cpu
from alexnet.reproduce import patches
from alexnet.study import panels
from alexnet.study.activations import activations, centre_views
from alexnet.study.class_names import true_label
from alexnet.study.index import embed
from alexnet.study.matching import run_labels
from alexnet.study.scores import errors, image_probabilities, top1_top5_credits, top5
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.device import choose_dtype, precision

BATCH = 128
QUERIES, NEIGHBOURS, SHOWN, PREDICTED = 300, 6, 5, 8
"""Validation images whose nearest training image is looked for, and how many of them a panel shows, as figure 4."""
SEARCHED = 20_000
"""Training images, at most, among which the nearest ones are looked for."""
LOOKED_AT = 2000
"""Validation images, at most, in which the strongest patches are looked for."""
STRONGEST = 9


@dataclass
class Measured:
    """What a measure found."""

    numbers: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    panels: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A trained network with its images."""

    net: TrainedAlexNet
    store: Store
    run: Path
    seed: int

    @property
    def labels(self) -> Tensor:
        """The network's label of each class of the store, int64."""
        return run_labels(self.store, self.net.classes, self.run)

    @cached_property
    def ten_view_outputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all validation images: the averaged outputs, float32 [N, classes], and the credits, float64 [2, N]."""
        scores, credits = [], []
        for images, labels in self.batches("val"):
            scores.append(image_probabilities(self.net, images, 10))
            credits.append(top1_top5_credits(scores[-1], labels))
        return torch.cat(scores).numpy(), np.concatenate(credits, axis=1)

    def batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """All images of a split, uint8 [B, S, S, 3], and their labels, int64 [B]."""
        threads = cpu.threads(next(self.net.parameters()).device)
        for images, labels, _ in in_order(self.store.split(split), BATCH, threads=threads):
            yield images, self.labels[labels]


def spread(split: StoreSplit, count: int) -> np.ndarray:
    """Indices of at most `count` images, at equal distances over the whole split (which may be sorted by class)."""
    return np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(np.int64))


def chosen(split: StoreSplit, indices: Sequence[int] | np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """The images of these indices in batches, uint8 [B, S, S, 3], and the store's labels, int64 [B]."""
    for first in range(0, len(indices), BATCH):
        part = [int(i) for i in indices[first : first + BATCH]]
        images = np.stack([split.image(i) for i in part])
        yield torch.from_numpy(images), torch.from_numpy(split.labels[part].copy())


def centre_errors(trained: Trained) -> dict[str, float]:
    """Top-1 and top-5 error of the centre view on all validation images, fractions."""
    credits = [
        top1_top5_credits(image_probabilities(trained.net, images, 1), labels)
        for images, labels in trained.batches("val")
    ]
    return errors(np.concatenate(credits, axis=1))


@torch.inference_mode()
def training_errors(trained: Trained, count: int) -> dict[str, float]:
    """Errors and loss on at most `count` training images as validation sees images: centre view, no dropout."""
    split = trained.store.split("train")
    device = next(trained.net.parameters()).device
    credits, loss, images_seen = [], 0.0, 0
    for images, labels in chosen(split, spread(split, count)):
        truths = trained.labels[labels]
        with precision(device, choose_dtype(trained.net.config.dtype, device)):
            logits = trained.net(centre_views(trained.net, images)).float().cpu()
        loss += F.cross_entropy(logits, truths, reduction="sum").item()
        credits.append(top1_top5_credits(logits.softmax(1), truths))
        images_seen += len(images)
    return errors(np.concatenate(credits, axis=1)) | {"loss": loss / images_seen, "images": images_seen}


def ten_views(trained: Trained) -> Measured:
    """Errors of the ten views on all validation images, as fractions."""
    return Measured(errors(trained.ten_view_outputs[1]))


def outputs(trained: Trained) -> Measured:
    """The ten-view output of each validation image, float16 [N, classes], and its label, for ensembles."""
    scores, _ = trained.ten_view_outputs
    truths = trained.labels.numpy()[trained.store.split("val").labels]
    return Measured({}, {"outputs": scores.astype(np.float16), "truths": truths.astype(np.int16)})


def light(trained: Trained) -> Measured:
    """Errors of the centre view under changed light: red, green and blue of each image times 0.6 to 1.4 at random."""
    credits = []
    random = np.random.default_rng(0)  # the same light for every network
    for images, labels in trained.batches("val"):
        gains = torch.from_numpy(random.uniform(0.6, 1.4, (len(images), 1, 1, 3)).astype(np.float32))
        changed = (images * gains).clamp(0, 255).round().to(torch.uint8)
        credits.append(top1_top5_credits(image_probabilities(trained.net, changed, 1), labels))
    return Measured(errors(np.concatenate(credits, axis=1)))


def kernels(trained: Trained) -> Measured:
    """The kernels of conv1, float16 [K, 3, H, W]."""
    weights = trained.net.conv1.weight.detach().float().cpu().numpy()
    return Measured({"towers": trained.net.network.towers}, {"kernels": weights.astype(np.float16)})


def similar(trained: Trained) -> Measured:
    """How often the nearest training image has another class, by fc7 and by pixels; and figure 4 for the first seed."""
    net, pool, searched = trained.net, trained.store.split("val"), trained.store.split("train")
    queries, gallery = spread(pool, QUERIES), spread(searched, SEARCHED)
    images = torch.cat([part for part, _ in chosen(pool, queries)])
    spaces = {"fc7": _embedded(net, images), "pixels": _pixels(net, images)}
    best = {name: (torch.full((len(images), NEIGHBOURS), torch.inf), torch.zeros(len(images), NEIGHBOURS).long())
            for name in spaces}  # fmt: skip
    first = 0
    for part, _ in chosen(searched, gallery):
        numbers = torch.from_numpy(gallery[first : first + len(part)]).expand(len(images), -1)
        for name, rows in (("fc7", _embedded(net, part)), ("pixels", _pixels(net, part))):
            distances = torch.cat([best[name][0], torch.cdist(spaces[name], rows)], 1)
            nearest, order = distances.topk(min(NEIGHBOURS, distances.shape[1]), largest=False)
            best[name] = nearest, torch.cat([best[name][1], numbers], 1).gather(1, order)
        first += len(part)
    truths = pool.labels[queries]
    numbers = {f"{name}_error": float((searched.labels[found[:, 0].numpy()] != truths).mean())
               for name, (_, found) in best.items()}  # fmt: skip
    result = Measured(numbers | {"queries": len(queries), "searched": len(gallery)})
    if trained.seed == 0:
        shown = _from_different_classes(truths, SHOWN)
        result.panels["similar"] = _similar_panel(trained, queries[shown], best["fc7"][0][shown], best["fc7"][1][shown])
        predicted = queries[_from_different_classes(truths, PREDICTED)]
        result.panels["predictions"] = _predictions_panel(trained, predicted)
    return result


def _embedded(net: TrainedAlexNet, images: Tensor) -> Tensor:
    return torch.cat([embed(net, centre_views(net, part)) for part in images.split(BATCH)])


def _pixels(net: TrainedAlexNet, images: Tensor) -> Tensor:
    """The pixels of the centre view, float32 [B, D]."""
    return torch.cat([centre_views(net, part).flatten(1).cpu() for part in images.split(BATCH)])


def _from_different_classes(truths: np.ndarray, count: int) -> list[int]:
    """Indices of `count` images, of as many classes as there are."""
    firsts = [int(np.flatnonzero(truths == label)[0]) for label in np.unique(truths)]
    others = [i for i in range(len(truths)) if i not in firsts]
    return (firsts + others)[: min(count, len(truths))]


def _similar_panel(trained: Trained, queries: np.ndarray, distances: Tensor, found: Tensor) -> Figure:
    pool, searched = trained.store.split("val"), trained.store.split("train")
    classes = trained.store.classes
    rows = [
        true_label(int(pool.labels[query]), classes)
        | {
            "nearest": [
                classes[int(searched.labels[index])]._asdict() | {"distance": distance}
                for index, distance in zip(indices, far, strict=True)
            ]
        }
        for query, indices, far in zip(queries.tolist(), found.tolist(), distances.tolist(), strict=True)
    ]
    neighbours = [[searched.image(index) for index in indices] for indices in found.tolist()]
    return panels.similar([pool.image(query) for query in queries.tolist()], neighbours, rows)


def _predictions_panel(trained: Trained, indices: np.ndarray) -> Figure:
    pool, classes = trained.store.split("val"), trained.net.classes
    images = np.stack([pool.image(int(index)) for index in indices])
    scores = image_probabilities(trained.net, torch.from_numpy(images), 10)
    answers = [
        true_label(int(pool.labels[index]), trained.store.classes) | {"path": "", "top5": top5(row, classes)}
        for index, row in zip(indices.tolist(), scores, strict=True)
    ]
    return panels.predictions(list(images), answers)


def strongest(trained: Trained) -> Measured:
    """For each convolution, how often the strongest patches of a kernel are of one class; for the first seed also the
    nine strongest patches of eight kernels per layer."""
    net, pool = trained.net, trained.store.split("val")
    layers = [layer.name for layer in net.layers if layer.kind == "conv" and layer.name != "conv6"]
    indices = spread(pool, LOOKED_AT)
    best: dict[str, patches.Strongest] = {}
    first = 0
    for images, _ in chosen(pool, indices):
        for name, maps in activations(net, centre_views(net, images), layers).items():
            best[name] = patches.merged(best.get(name), maps, first, STRONGEST)
        first += len(images)
    labels = pool.labels[indices]
    result = Measured({name: patches.impurity(found, labels) for name, found in best.items()})
    if trained.seed == 0:
        centre = [pool.image(int(i)) for i in indices]
        result.panels["strongest"] = patches.panel(best, net, centre)
    return result


MEASURES: dict[str, Callable[[Trained], Measured]] = {
    each.__name__: each for each in (ten_views, outputs, light, kernels, similar, strongest)
}
