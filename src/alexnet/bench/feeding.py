"""`alexnet bench train --store`: training steps fed by the loader, beside the same steps on one repeated batch."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.bench.measure import alternate, waiting
from alexnet.config import NetworkConfig, TrainConfig
from alexnet.data.store.reader import Store
from alexnet.training.loop import epoch_batches
from alexnet.training.ranks import Ranks
from alexnet.training.state import Setup
from alexnet.training.step import batch_input

STEPS, SECONDS = 8, 2.0
"""Steps of each kind in a round: at least so many, and as many as fit into this time, so that the beginning of an epoch
(its order is drawn, threads start, the first batch is waited for) weighs little more than it does in an epoch."""
Step = Callable[[Tensor, Tensor], None]
"""One training step: takes inputs [B, 3, S, S] on the device and labels int64 [B] on the CPU."""


def feeding(
    step: Step, path: Path, config: NetworkConfig, batch: int, dtype: torch.dtype, device: torch.device, rounds: int
) -> dict[str, Any]:
    """The throughput of `step` with batches from the store at `path`, and with one of them repeated.

    All batches of a round are read and decoded within its time, including the first one, which nothing overlaps: none
    is made ahead while the other kind of step runs. Returns `fed_images_per_second`, `repeated_images_per_second`,
    `fed_fraction`, the first over the second, and `fed_steps`, the steps of a round.

    Raises ValueError for a store that does not fit the network or has fewer images than one batch.
    """
    store = Store(path)
    images, crop = len(store.split("train")), config.input_size
    if images < batch or crop > store.size or len(store.classes) > config.classes:
        raise ValueError(
            f"{path} cannot feed this network: that needs {batch} training images (or a smaller --batch-size) of "
            f"{crop} pixels or more, and {config.classes} classes at most."
        )
    setup = Setup.of(TrainConfig(network=config, batch_size=batch), store, device, dtype)
    steps = 1

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        start = setup.steps_per_epoch - steps  # to the end of the epoch, so that no further batch is made ahead
        for made in epoch_batches(setup, store, Ranks(), epoch=0, start=start):
            yield batch_input(made, setup, epoch=0), made.labels

    def fed() -> None:
        for x, labels in batches():
            step(x, labels)

    (same,) = islice(batches(), 1)

    def repeated() -> None:
        for _ in range(steps):
            step(*same)

    began = time.perf_counter()
    waiting(repeated, device)()
    took = time.perf_counter() - began
    steps = min(max(STEPS, round(SECONDS / took)), setup.steps_per_epoch)
    count = float(steps * batch)
    rates = alternate(
        {"fed": (waiting(fed, device), count), "repeated": (waiting(repeated, device), count)},
        rounds,
    )
    return {
        "store": str(path),
        "fed_steps": steps,
        "fed_images_per_second": rates["fed"].median,
        "repeated_images_per_second": rates["repeated"].median,
        "fed_fraction": rates["fed"].median / rates["repeated"].median,
    }
