"""One training step on a GPU, as a CUDA graph: the same as `step.train_step`, without waiting for the device.

The graph is `alexnet.model.cuda.plan.TrainingPlan.step`. Each call copies a batch into a ring on the device by a stream
of its own, sets what changes from step to step, starts the graph, and returns metrics that are read when they arrive.
Dropout masks are functions of seed, step, layer, image and unit (`alexnet.model.cuda.dropout`); all else that is
random is as on a CPU.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from alexnet.data import augment
from alexnet.data.loader import TrainingBatch
from alexnet.model.cuda import input as image_input
from alexnet.model.cuda.plan import TrainingPlan
from alexnet.training.schedule import augment_at, layer_learning_rate
from alexnet.training.state import Setup, TrainState
from alexnet.training.step import MOST_PENDING, step_seed

SLOTS = 4
"""Batches on the device: one in use, the others on their way."""


class LateMetrics:
    """What a step measured, read when it has arrived from the device. As `step.StepMetrics`."""

    def __init__(self, values: Tensor, arrived: torch.cuda.Event | None, learning_rate: float) -> None:
        self._values, self._arrived, self.learning_rate = values, arrived, learning_rate

    @property
    def is_ready(self) -> bool:
        return self._arrived is None or self._arrived.query()

    @property
    def loss(self) -> float:
        return self._read(0)

    @property
    def top1_error(self) -> float:
        return self._read(1)

    def _read(self, i: int) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values[i].item()


class CudaStep:
    """Trains `state` on the batches that it is called with, in `setup.dtype`."""

    def __init__(self, state: TrainState, setup: Setup) -> None:
        config = setup.config
        self.on_gpu = setup.device.type == "cuda"
        state.network.train()
        weights = list(state.network.parameters())
        for w in weights:
            state.optimizer.state[w].setdefault("velocity", torch.zeros_like(w))
        self.plan = TrainingPlan(
            state.network,
            [state.optimizer.state[w]["velocity"] for w in weights],
            momentum=config.optim.momentum,
            batch=config.batch_size,
            slots=SLOTS,
            mean=setup.mean,
            dtype=setup.dtype,
        )
        self.host = Host(self.plan, config.batch_size, pinned=self.on_gpu)
        self.copies = torch.cuda.Stream(setup.device) if self.on_gpu else None
        self.copied: list[torch.cuda.Event | None] = [None] * SLOTS
        self.used: list[torch.cuda.Event | None] = [None] * SLOTS
        self.graph = self._capture() if self.on_gpu else None

    def __call__(self, state: TrainState, batch: TrainingBatch, setup: Setup) -> LateMetrics:
        config, epoch = setup.config, state.step / setup.steps_per_epoch
        learning_rate = state.schedule.learning_rate(
            config.schedule, config.optim.lr, state.step, setup.steps_per_epoch
        )
        rates = partial(layer_learning_rate, config.schedule, epoch=epoch, common=learning_rate)
        state.optimizer.set_learning_rates(rates)
        slot = state.step % SLOTS
        if (copied := self.copied[(slot - 2) % SLOTS]) is not None:
            copied.synchronize()  # the loader may reuse a batch's memory two batches later
        if (used := self.used[slot]) is not None:
            used.synchronize()  # until then the device reads what `host` holds for this slot
        self.host.fill(slot, numbers(batch, setup, state.step // setup.steps_per_epoch), state.optimizer.param_groups)
        self.host.seed[slot] = step_seed(config.seed, state.step)
        self._send(slot, batch.crops)
        if self.graph is None:
            self.plan.step()
        else:
            self.graph.replay()
        metrics = LateMetrics(*self._receive(slot), learning_rate)
        state.step += 1
        return metrics

    def _send(self, slot: int, crops: Tensor) -> None:
        """Copy the batch to the device beside the steps before it, then what the next step reads."""
        plan, host = self.plan, self.host
        with torch.cuda.stream(self.copies):
            plan.crops[slot].copy_(crops, non_blocking=True)
            plan.numbers[slot].copy_(host.numbers[slot], non_blocking=True)
            self.copied[slot] = self._event()
        if (copied := self.copied[slot]) is not None:
            torch.cuda.current_stream().wait_event(copied)
        plan.rates.copy_(host.rates[slot], non_blocking=True)
        plan.slot.copy_(host.slot[slot : slot + 1], non_blocking=True)
        plan.seed.copy_(host.seed[slot : slot + 1], non_blocking=True)

    def _receive(self, slot: int) -> tuple[Tensor, torch.cuda.Event | None]:
        """The metrics of the step that was started last, on their way to the host."""
        values = self.host.metrics()
        values.copy_(self.plan.metrics, non_blocking=True)
        self.used[slot] = arrived = self._event()
        return values, arrived

    def _event(self) -> torch.cuda.Event | None:
        if not self.on_gpu:
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def _capture(self) -> torch.cuda.CUDAGraph:
        """The graph of one step. The steps that warm up have a learning rate of 0: they change no parameter."""
        self.plan.numbers[..., image_input.DIVISOR] = 1
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(self.plan.mean.device, priority=-1)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.plan.step()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, stream=stream):
            self.plan.step()
        return graph


class Host:
    """What a step needs beside the images, in memory that the device can read by itself: a slot for each batch."""

    def __init__(self, plan: TrainingPlan, batch: int, pinned: bool) -> None:
        self.numbers = torch.zeros(SLOTS, batch, image_input.NUMBERS, pin_memory=pinned)
        self.rates = torch.zeros(SLOTS, *plan.rates.shape, pin_memory=pinned)
        self.slot = torch.arange(SLOTS).pin_memory() if pinned else torch.arange(SLOTS)
        self.seed = torch.zeros(SLOTS, dtype=torch.int64, pin_memory=pinned)
        self._metrics = torch.zeros(MOST_PENDING + 2, 2, pin_memory=pinned)
        self._next = 0

    def fill(self, slot: int, numbers: np.ndarray, groups: list[dict]) -> None:
        """Fill a slot with `numbers`, float32 [B, NUMBERS], and each group's learning rate and weight decay."""
        self.numbers[slot] = torch.from_numpy(numbers)
        self.rates[slot] = torch.tensor([[group["lr"], group["weight_decay"]] for group in groups])

    def metrics(self) -> Tensor:
        """Room for one step's metrics, free again when `MOST_PENDING` more steps have been started."""
        self._next += 1
        return self._metrics[self._next % len(self._metrics)]


def numbers(batch: TrainingBatch, setup: Setup, epoch: int) -> np.ndarray:
    """What the device needs to know of each image: float32 [B, NUMBERS], see `alexnet.model.cuda.input`."""
    config = augment_at(setup.config, epoch)
    values = np.empty((len(batch.offsets), image_input.NUMBERS), np.float32)
    if config.mean_crop == "central":
        values[:, : image_input.MIRRORED] = (setup.mean.shape[0] - batch.crops.shape[1]) // 2
        values[:, image_input.MIRRORED] = 0
    else:
        values[:, : image_input.MIRRORED] = batch.offsets
        values[:, image_input.MIRRORED] = batch.mirrored
    values[:, image_input.LABEL] = batch.labels.numpy()
    shift = augment.colour_shift(batch.colour_alphas, setup.covariance, config.colour_scale)
    values[:, image_input.RED : image_input.DIVISOR] = shift
    by_deviations = config.colour_scale == "standard-deviations"
    values[:, image_input.DIVISOR] = 1 + config.colour_noise if by_deviations else 1
    return values
