"""A map of the store: images where the last hidden layer has them, by principal components; and neighbours.

The components are those of up to `SAMPLE` images, evenly spread over the split. Neighbours are the nearest of all
images by Euclidean distance in all dimensions, as `alexnet similar` finds them, not those that are near on the map.
"""

import threading
from typing import Any

import numpy as np

from alexnet.explore.guard import MissingError
from alexnet.explore.images import Images
from alexnet.explore.indexer import Indexer
from alexnet.explore.runs import Run
from alexnet.study.index import finite_rows, nearest_images

SAMPLE = 2000
TOLERANCE = 1e-9
"""Relative change of the variance at which the components have settled."""


class StoreMap:
    """The map of one run, computed once."""

    def __init__(self, run: Run, images: Images, indexer: Indexer | None) -> None:
        self.run, self.images, self.indexer = run, images, indexer
        self.lock = threading.Lock()
        self._made: tuple[np.ndarray, np.ndarray, dict[str, Any]] | None = None

    def about(self, image: str | None) -> dict[str, Any]:
        """`points` (`image`, `label`, `x`, `y`), `explained` (the fraction of the variance along the two axes),
        `layer`, and `here`, where `image` is. While the store is indexed: `index` alone, its progress."""
        if self.indexer is None:
            raise MissingError("There is no store; start alexnet explore with --data STORE.")
        if self.indexer.rows is None:
            return {"index": self.indexer.about()}
        with self.lock:
            self._made = self._made or self._make()
        mean, axes, answer = self._made
        if image is None:
            return answer
        x, y = (self.run.embed(self.images, image).numpy()[0] - mean) @ axes
        return answer | {"here": {"image": image, "x": float(x), "y": float(y)}}

    def is_ready(self) -> bool:
        """Whether the store is indexed."""
        return self.indexer is not None and self.indexer.rows is not None

    def similar(self, image: str, count: int) -> dict[str, Any]:
        """The nearest images of the split, as `alexnet similar` has them, each with its name in addresses."""
        if self.indexer is None:
            raise MissingError("There is no store; start alexnet explore with --data STORE.")
        if self.indexer.rows is None:
            return {"index": self.indexer.about()}
        assert self.images.store is not None
        found = nearest_images(
            self.indexer.rows, self.run.embed(self.images, image), count, self.indexer.images, self.images.store.classes
        )[0]
        split = self.indexer.split
        nearest = [each | {"image": f"{split}-{each['index']}"} for each in found]
        return {"layer": self.run.net.last_hidden, "split": split, "nearest": nearest}

    def _make(self) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        assert self.indexer is not None and self.indexer.rows is not None
        rows, split = self.indexer.rows, self.indexer.split
        chosen = np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).round().astype(int)
        vectors = np.concatenate([finite_rows(rows, int(i), int(i) + 1) for i in chosen]).astype(np.float64)
        mean = vectors.mean(0)
        axes, explained = principal_axes(vectors - mean)
        labels = self.indexer.images.labels
        points = [
            {"image": f"{split}-{i}", "label": int(labels[i]), "x": float(x), "y": float(y)}
            for i, (x, y) in zip(chosen.tolist(), (vectors - mean) @ axes, strict=True)
        ]
        answer = {"layer": self.run.net.last_hidden, "explained": explained.tolist(), "points": points}
        return mean, axes, answer


def principal_axes(centred: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """The first principal axes of vectors [N, D] whose mean is 0: [D, count]; the fraction of variance of each.

    By iteration in a small subspace: the whole decomposition of 4096 dimensions takes many times as long.
    Of both directions of an axis, the one in which its largest component is positive.
    """
    total = max(float(np.square(centred).sum()), 1e-300)
    width = min(count + 10, *centred.shape)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((centred.shape[1], width)))[0]
    before = np.zeros(count)
    for _ in range(300):
        basis, triangle = np.linalg.qr(centred.T @ (centred @ basis))
        now = np.abs(np.diag(triangle))[:count]
        if np.abs(now - before[: len(now)]).max(initial=0) <= TOLERANCE * max(now.max(initial=0), 1e-300):
            break
        before = now
    _, values, turned = np.linalg.svd(centred @ basis, full_matrices=False)
    axes = (basis @ turned.T)[:, :count]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)
    return axes, np.square(values[:count]) / total
