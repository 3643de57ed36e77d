"""One training step (paper, section 5). The loop, `alexnet bench`, the benchmarks and the tests all run this one."""

from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.data import augment
from alexnet.data.loader import TrainingBatch
from alexnet.model.input import network_input
from alexnet.training.device import precision
from alexnet.training.metrics import top_k_credit
from alexnet.training.schedule import augment_at, layer_learning_rate
from alexnet.training.state import Setup, TrainState

MOST_PENDING = 32
"""Steps that may be started before the metrics of the first of them are read."""


class StepMetrics(NamedTuple):
    """What a step measured, on this rank's part of the batch, before its update."""

    loss: float
    """Mean cross-entropy."""
    top1_error: float
    learning_rate: float
    """The common one, before changes of single layers."""

    @property
    def is_ready(self) -> bool:
        return True


class Metrics(Protocol):
    """What a step returns: `StepMetrics`, or the same on its way from a device. Reading waits for it."""

    @property
    def is_ready(self) -> bool: ...
    @property
    def loss(self) -> float: ...
    @property
    def top1_error(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...


def train_step(state: TrainState, batch: TrainingBatch, setup: Setup) -> StepMetrics:
    """Train on one batch of the loader: sets learning rates, draws dropout masks, updates `state`."""
    config, epoch = setup.config, state.step / setup.steps_per_epoch
    learning_rate = state.schedule.learning_rate(config.schedule, config.optim.lr, state.step, setup.steps_per_epoch)
    state.optimizer.set_learning_rates(partial(layer_learning_rate, config.schedule, epoch=epoch, common=learning_rate))
    seed_masks(step_seed(config.seed, state.step), setup.device)
    x = batch_input(batch, setup, epoch=state.step // setup.steps_per_epoch)
    loss, top1_error = update(state.model, state.optimizer, x, batch.labels, setup.dtype)
    state.step += 1
    return StepMetrics(loss, top1_error, learning_rate)


def update(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, labels: Tensor, dtype: torch.dtype
) -> tuple[float, float]:
    """Forward pass with dropout, gradients, and one update. Returns the loss and the top-1 error before the update.

    `x` [B, 3, S, S] is on the model's device, `labels` int64 [B] on the CPU. `dtype` is the number format of
    activations and matrix multiplications; the loss is computed in float32 or better.
    """
    if not all(module.training for module in model.modules()):
        model.train()
    targets = labels.to(x.device, non_blocking=True)
    with precision(x.device, dtype):
        logits = at_least_float32(model(x))  # [B, classes]
    loss = F.cross_entropy(logits, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    credit = top_k_credit(logits.detach().cpu(), labels, 1)
    return loss.item(), 1 - credit.mean().item()


def batch_input(batch: TrainingBatch, setup: Setup, epoch: int) -> Tensor:
    """The network's input for a batch of the loader, [B, 3, S, S] of the setup's number format, on its device.

    The batch travels to the device as bytes. The mean is subtracted there, and the colour noise of `epoch` added.
    """
    config = augment_at(setup.config, epoch)
    shift = augment.colour_shift(batch.colour_alphas, setup.covariance, config.colour_scale)
    return network_input(
        batch.crops.to(setup.device, non_blocking=True),
        setup.mean,
        torch.from_numpy(batch.offsets),
        torch.from_numpy(batch.mirrored),
        shift=torch.from_numpy(shift).to(setup.device),
        dtype=setup.dtype,
        central=config.mean_crop == "central",
        divisor=1 + config.colour_noise if config.colour_scale == "standard-deviations" else 1.0,
    )


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random inside the network at `step`, so that a resumed run draws the same masks."""
    return int(np.random.SeedSequence([seed, 1, step]).generate_state(1, np.uint64)[0]) >> 1


def seed_masks(seed: int, device: torch.device) -> None:
    """Seed the generator that draws dropout masks on `device`.

    `torch.manual_seed` does that on all devices there are, which takes longer than drawing the masks.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, converted to float32 where its number format is shorter."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
