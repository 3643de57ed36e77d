"""The training step for a GPU, in the loop: on a CPU by Triton's interpreter, where there is no graph, or on a GPU."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from noise import noise_store
from runs import assert_same_run, steps_of

from alexnet.config import AugmentConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig
from alexnet.data.loader import TrainingBatch
from alexnet.training import checkpoint, loop
from alexnet.training.state import Setup, TrainState
from alexnet.training.step import MOST_PENDING, StepMetrics, train_step

pytestmark = pytest.mark.usefixtures("large_tiles")

CONFIG = TrainConfig(
    epochs=1,
    batch_size=1,
    dtype="float32",
    network=NetworkConfig(input_size=43, width=0.07, fc_units=100, initial_std=(0.02, *[0.1] * 7), dropout=0.5),
    augment=AugmentConfig(mean_crop="central", colour_scale="standard-deviations"),
    optim=OptimConfig(lr=0.001, bias_lr_factor=2),
    schedule=ScheduleConfig(kind="epochs", changes=("0.5 conv1 0",)),
)
"""Three steps."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three training and three validation images of three classes."""
    return noise_store(tmp_path_factory.mktemp("cuda"), train=1, val=1)


def cuda_step(stop_at: int = -1) -> loop.Step:
    """A `CudaStep` made at the first step, as the loop makes it; asks to stop at a step."""
    from alexnet.training.cuda_step import CudaStep

    made: list[CudaStep] = []

    def step(state: TrainState, batch: TrainingBatch, setup: Setup) -> Any:
        if not made:
            made.append(CudaStep(state, setup))
        if state.step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return made[0](state, batch, setup)

    return step


def test_a_stopped_and_resumed_run_is_the_uninterrupted_one(small: Path, tmp_path: Path, device: torch.device) -> None:
    config = dataclasses.replace(CONFIG, device=device.type)
    loop.train(small, tmp_path / "whole", config, step=cuda_step())
    with pytest.raises(KeyboardInterrupt):
        loop.train(small, tmp_path / "stopped", config, step=cuda_step(stop_at=1))
    assert checkpoint.find(tmp_path / "stopped", "last").step == 2
    loop.train(small, tmp_path / "stopped", config, step=cuda_step())
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert [line["step"] for line in steps_of(tmp_path / "whole")] == [1, 2, 3]


def test_without_dropout_it_is_the_step_of_a_cpu(small: Path, tmp_path: Path, device: torch.device) -> None:
    """The same weights, images, crops, colours, learning rates and changes by hand."""
    config = dataclasses.replace(CONFIG, network=dataclasses.replace(CONFIG.network, dropout=0.0))
    loop.train(small, tmp_path / "cuda", dataclasses.replace(config, device=device.type), step=cuda_step())
    loop.train(small, tmp_path / "cpu", dataclasses.replace(config, device="cpu"), step=train_step)
    for ours, theirs in zip(steps_of(tmp_path / "cuda"), steps_of(tmp_path / "cpu"), strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert ours["learning_rate"] == theirs["learning_rate"]
        assert ours["train_top1_error"] == theirs["train_top1_error"]
    ours, theirs = (checkpoint.find(tmp_path / name, "last").weights() for name in ("cuda", "cpu"))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-5)


class Late:
    """Metrics that never say that they have arrived."""

    is_ready, learning_rate, top1_error = False, 0.001, 1.0

    def __init__(self, loss: float, read: list[int], step: int) -> None:
        self._loss, self._read, self._step = loss, read, step

    @property
    def loss(self) -> float:
        self._read.append(self._step)
        return self._loss


def long_config(small: Path) -> TrainConfig:
    """An epoch of more steps than may be pending."""
    network = dataclasses.replace(CONFIG.network, input_size=43)
    return dataclasses.replace(CONFIG, device="cpu", network=network)


def test_metrics_are_read_within_a_bound_and_in_order(tmp_path: Path) -> None:
    store, read, started = noise_store(tmp_path / "noise", train=20, val=1), list[int](), list[int]()

    def step(state: TrainState, batch: TrainingBatch, setup: Setup) -> Late:
        state.step += 1
        started.append(state.step)
        assert state.step - len(read) <= MOST_PENDING + 1
        return Late(0.5, read, state.step)

    loop.train(store, tmp_path / "run", long_config(store), step=step)
    assert read == started and len(read) == 60 > MOST_PENDING
    assert [line["step"] for line in steps_of(tmp_path / "run")] == read


def test_a_late_loss_that_is_not_a_number_stops_and_is_never_saved(tmp_path: Path) -> None:
    store = noise_store(tmp_path / "noise", train=20, val=1)
    started = list[int]()

    def step(state: TrainState, batch: TrainingBatch, setup: Setup) -> Late:
        state.step += 1
        started.append(state.step)
        return Late(float("nan") if state.step >= 8 else 0.5, [], state.step)

    config = dataclasses.replace(long_config(store), checkpoint=dataclasses.replace(CONFIG.checkpoint, every_steps=5))
    with pytest.raises(FloatingPointError, match="at step 8"):
        loop.train(store, tmp_path / "run", config, step=step)
    assert len(started) <= 8 + MOST_PENDING
    assert checkpoint.find(tmp_path / "run", "last").step == 5


def test_metrics_that_are_there_are_read_at_once_and_float32_is_float32(small: Path, tmp_path: Path) -> None:
    lines = list[int]()

    def step(state: TrainState, batch: TrainingBatch, setup: Setup) -> StepMetrics:
        log = tmp_path / "run" / "metrics.jsonl"
        lines.append(state.step)
        assert log.exists()
        assert not torch.backends.cudnn.allow_tf32
        return train_step(state, batch, setup)

    loop.train(small, tmp_path / "run", dataclasses.replace(CONFIG, device="cpu"), step=step)
    assert lines == [0, 1, 2]
