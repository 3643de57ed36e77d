"""A store of coloured noise, a configuration that learns it, and one finished run, for the tests of the loop."""

from pathlib import Path

import pytest
from noise import CROP, noise_store

from alexnet.config import NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig
from alexnet.training import loop

CONFIG = TrainConfig(
    epochs=3,
    batch_size=8,
    dtype="float32",
    device="cpu",
    workers=2,
    network=NetworkConfig(input_size=CROP, width=1 / 12, initial_std=(0.02, *[0.1] * 7)),
    optim=OptimConfig(lr=0.001),
    schedule=ScheduleConfig(kind="epochs", drop_epochs=(2,), warmup_steps=3),
)
"""Three epochs of four steps."""


@pytest.fixture
def config() -> TrainConfig:
    return CONFIG


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 36 training and 12 validation images of three classes."""
    return noise_store(tmp_path_factory.mktemp("loop"), train=12, val=4)


@pytest.fixture(scope="session")
def finished(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of `CONFIG`."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    loop.train(noise, run, CONFIG)
    return run
