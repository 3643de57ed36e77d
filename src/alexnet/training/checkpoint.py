"""Checkpoints of a run: folders `checkpoints/step-00001234`, written whole or not at all.

Each holds `weights.safetensors` (the network under plain names), `velocity.safetensors` (the momentum, under the
same names) and `state.json` (where the training stands). The last one and the best one are kept.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk."""

    path: Path

    @property
    def step(self) -> int:
        """Training steps done when it was written."""
        return int(self.path.name.removeprefix("step-"))

    def state(self) -> dict:
        """What `save` was given as state."""
        return json.loads((self.path / "state.json").read_text(encoding="utf-8"))

    def weights(self) -> dict[str, Tensor]:
        """Parameters by name, on the CPU. ValueError when the file is damaged."""
        return read_tensors(self.path / "weights.safetensors")

    def velocity(self) -> dict[str, Tensor]:
        """Velocity by parameter name, on the CPU. ValueError when the file is damaged."""
        return read_tensors(self.path / "velocity.safetensors")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError naming it when it cannot be read."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); delete its folder to go on from the checkpoint before."
        ) from None


def save(run: Path, step: int, weights: dict[str, Tensor], velocity: dict[str, Tensor], state: dict) -> Checkpoint:
    """Write the checkpoint of `step`, then delete those that are neither the last nor `state["best_step"]`."""
    final = run / "checkpoints" / f"step-{step:08d}"
    temporary = final.with_name(final.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for file, tensors in (("weights", weights), ("velocity", velocity)):
        whole = {name: value.detach().contiguous() for name, value in tensors.items()}
        save_file(whole, temporary / f"{file}.safetensors")
    (temporary / "state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    for file in temporary.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    if final.exists():
        shutil.rmtree(final)
    temporary.replace(final)
    for other in checkpoints(run):
        if other.step not in (step, state.get("best_step")):
            shutil.rmtree(other.path)
    return Checkpoint(final)


def checkpoints(run: Path) -> list[Checkpoint]:
    """All whole checkpoints of a run, oldest first."""
    folders = (run / "checkpoints").glob("step-*")
    return sorted((Checkpoint(f) for f in folders if f.suffix != ".partial"), key=lambda c: c.step)


def find(run: Path, which: str = "best") -> Checkpoint:
    """The `best` or the `last` checkpoint. ValueError when the run has none."""
    there = checkpoints(run)
    if not there:
        raise ValueError(f"{run} has no checkpoint; train it first: alexnet train STORE {run}")
    if which == "best":
        best = there[-1].state().get("best_step")
        return next((c for c in there if c.step == best), there[-1])
    return there[-1]


def load_weights(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy the checkpoint's weights into `network`. ValueError when names or shapes do not fit."""
    copy_weights(network, checkpoint.weights(), f"{checkpoint.path} does not fit the network of its config.json")


def copy_weights(network: nn.Module, weights: dict[str, Tensor], trouble: str, missing: str = "") -> None:
    """Copy `weights` into `network`; ValueError, beginning with `trouble`, when names or shapes do not fit.

    Parameters whose names begin with `missing` may be missing, and keep their values.
    """
    own = network.state_dict()
    kept = {name for name in own if missing and name.startswith(missing) and name not in weights}
    for name in sorted(own.keys() - kept | weights.keys()):
        if name not in weights or name not in own or weights[name].shape != own[name].shape:
            raise ValueError(f"{trouble}: see {name}.")
    with torch.no_grad():
        for name in own.keys() - kept:
            own[name].copy_(weights[name])
