"""`alexnet bench train --store`: steps that the loader feeds, beside the same steps on one batch that is repeated."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.bench.measure import alternate, waiting
from alexnet.config import AugmentConfig, NetworkConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store
from alexnet.model.cpu import kernels
from alexnet.training.feed import finish

STEPS = 8  # of each in a round
Step = Callable[[Tensor, Tensor], None]
"""One training step: takes images [B, 3, S, S] on the device and labels [B] in main memory."""


def feeding(
    step: Step, path: Path, config: NetworkConfig, batch: int, dtype: torch.dtype, device: torch.device, rounds: int
) -> dict[str, Any]:
    """What `step` does in a second with batches from the store at `path`, and with one of them again and again.

    Each round's batches are all read and decoded within its time, from the first on, while nothing is computed yet, to
    the last: nothing is made ahead while the other form runs. Returns `fed_images_per_second`,
    `repeated_images_per_second` and `fed_fraction`, the one over the other.

    Raises ValueError for a store that does not fit the network or has fewer than one batch.
    """
    store = Store(path)
    split, crop = store.split("train"), config.input_size
    if len(split) < batch or crop > store.size or len(store.classes) > config.classes:
        raise ValueError(
            f"{path} cannot feed this network: that needs {batch} training images (or a smaller --batch-size) of "
            f"{crop} pixels or more, and {config.classes} classes at most."
        )
    mean, augmented = torch.from_numpy(store.mean).to(device), AugmentConfig()
    draws = augment.draw_epoch(augmented, len(split), store.size, crop, seed=0, epoch=0)
    last = len(split) // batch
    steps = min(STEPS, last)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        start = last - steps  # so that no others are made ahead
        threads = kernels.threads(device)
        for made in loader.training_batches(split, draws, batch, crop, start=start, threads=threads):
            yield finish(made, mean, store.covariance, augmented, device, dtype)[0], made.labels

    def fed() -> None:
        for x, labels in batches():
            step(x, labels)

    (same,) = islice(batches(), 1)

    def repeated() -> None:
        for _ in range(steps):
            step(*same)

    images = float(steps * batch)
    forms = {"fed": (waiting(fed, device), images), "repeated": (waiting(repeated, device), images)}
    rates = alternate(forms, rounds)
    return {
        "store": str(path),
        "fed_images_per_second": rates["fed"].median,
        "repeated_images_per_second": rates["repeated"].median,
        "fed_fraction": rates["fed"].median / rates["repeated"].median,
    }
