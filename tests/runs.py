"""What the tests of the loop share: comparing runs, and steps that do something more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from alexnet.data.loader import TrainingBatch
from alexnet.files.checksums import checksum
from alexnet.training import checkpoint
from alexnet.training.checkpoint_file import State
from alexnet.training.metrics import read_lines
from alexnet.training.state import Setup, TrainState
from alexnet.training.step import StepMetrics, train_step


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    """The weights of the `last` or the `best` checkpoint."""
    return load_file(checkpoint.find(run, which).path / "weights.safetensors")


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Weights, velocity, state and metrics are the same, bit for bit."""
    for file in ("weights.safetensors", "velocity.safetensors"):
        a, b = (load_file(checkpoint.find(run, "last").path / file) for run in (ours, theirs))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert read_lines(ours / "metrics.jsonl") == read_lines(theirs / "metrics.jsonl")
    assert checkpoint.find(ours, "last").state() == checkpoint.find(theirs, "last").state()


def state_of(step: int, best_step: int | None = None, **more: Any) -> State:
    """What `state.json` holds at `step`, of a run without a `run.json`."""
    schedule = {"drops": 0, "best": None, "waited": 0, "finished": False}
    belongs = {"store": "", "run": "", "settings": {}}
    known = {"step": step, "epoch": float(step), "best_step": best_step, "top1_error": None, "top5_error": None}
    return known | {"schedule": schedule} | belongs | more  # type: ignore[return-value]


def steps_of(run: Path) -> list[dict]:
    """The lines of `metrics.jsonl` that are steps."""
    return [line for line in read_lines(run / "metrics.jsonl") if "evaluation" not in line]


def step_then(
    after: Callable[[TrainState], object], before: Callable[[TrainState], object] = lambda state: None
) -> Callable[[TrainState, TrainingBatch, Setup], StepMetrics]:
    """The training step, with something done before and after it."""

    def step(state: TrainState, batch: TrainingBatch, setup: Setup) -> StepMetrics:
        before(state)
        metrics = train_step(state, batch, setup)
        after(state)
        return metrics

    return step


def write_checksums(checkpoint: Path) -> None:
    """Make SHA256SUMS of a checkpoint's folder fit its files, as whoever changes them on purpose would."""
    sums = checkpoint / "SHA256SUMS"
    names = [line.split()[1] for line in sums.read_text().splitlines()]
    sums.write_text("".join(f"{checksum(checkpoint / name)}  {name}\n" for name in names))
