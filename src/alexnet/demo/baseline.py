"""The linear baseline: softmax regression on the pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet.data.loader import in_order
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.training.metrics import top_k_credit

SIDE = 32
PENALTIES = (0.001, 0.01, 0.1, 1.0)
ITERATIONS = 60


def linear_classifier(store_path: Path, *, side: int = SIDE) -> dict[str, Any]:
    """Fit softmax regression to the pixels of the training images, and test it on the validation images.

    Images are averaged down to `side` x `side` x 3, the training mean removed. The best of four L2 penalties is chosen
    on the validation images themselves, which favours the classifier.

    Returns `top1_error`, `train_top1_error` (fractions), `penalty`, `side` and `images`.
    """
    store = Store(store_path)
    x, labels = _pixels(store.split("train"), side)
    held_out, truths = _pixels(store.split("val"), side)
    mean, scale = x.mean(0), x.std()
    x, held_out = (x - mean) / scale, (held_out - mean) / scale
    results = []
    for penalty in PENALTIES:
        weights, bias = fit(x, labels, len(store.classes), penalty)
        results.append(
            {
                "top1_error": _error(held_out @ weights + bias, truths),
                "train_top1_error": _error(x @ weights + bias, labels),
                "penalty": penalty,
                "side": side,
                "images": len(truths),
            }
        )
    return min(results, key=lambda result: result["top1_error"])


def fit(x: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Minimise cross-entropy + penalty/2 |weights|^2 by L-BFGS: weights [D, classes] and biases [classes]."""
    weights = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weights + bias, labels) + penalty / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(objective)
    return weights.detach(), bias.detach()


def _pixels(split: StoreSplit, side: int) -> tuple[Tensor, Tensor]:
    """All images of a split, averaged down and flattened: float32 [N, side * side * 3], labels [N]."""
    parts = [
        F.interpolate(images.permute(0, 3, 1, 2).float(), size=(side, side), mode="area").flatten(1)
        for images, _, _ in in_order(split, 256)
    ]
    return torch.cat(parts), torch.from_numpy(np.array(split.labels))


def _error(scores: Tensor, labels: Tensor) -> float:
    return 1 - top_k_credit(scores, labels, 1).mean().item()
