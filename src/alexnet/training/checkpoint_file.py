"""One checkpoint on disk: what its files hold, and whether they are whole, undamaged and of this run."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from alexnet.files.checksums import checksum
from alexnet.files.json_file import mismatch, parse_json
from alexnet.files.regular import read_regular, reason
from alexnet.training import identity

WEIGHTS, VELOCITY, STATE, SUMS = "weights.safetensors", "velocity.safetensors", "state.json", "SHA256SUMS"
OURS = re.compile(r"step-(\d+)(\.\w+)?")
LARGEST_STATE, LARGEST_TENSORS = 1 << 20, 1 << 33
"""Bytes of the small files, and of weights and velocity: 8 GiB are 35 times the paper's network."""


class ScheduleState(TypedDict):
    """`alexnet.training.schedule.Schedule`; `best` is null before the first evaluation."""

    drops: int
    best: float | None
    waited: int
    finished: bool


class State(TypedDict):
    """What `state.json` holds."""

    step: int
    epoch: float
    best_step: int | None
    top1_error: float | None
    top5_error: float | None
    schedule: ScheduleState
    store: str
    """Fingerprint of the store."""
    run: str
    """Identity of the run (`alexnet.training.identity`)."""
    settings: dict[str, Any]
    """The settings that may not change (`run_folder.fixed_settings`)."""


class DamagedError(ValueError):
    """A checkpoint that cannot be used. `what` is the message without the advice."""

    def __init__(self, file: Path, reason: str) -> None:
        self.what = f"{file} cannot be used ({reason})"
        super().__init__(f"{self.what}; delete its folder to resume from another checkpoint.")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk. Every method that reads raises DamagedError (a ValueError) naming the damaged file."""

    path: Path

    @property
    def step(self) -> int:
        """Training steps done when it was written, as the name of its folder says."""
        match = OURS.fullmatch(self.path.name)
        assert match is not None
        return int(match[1])

    def state(self) -> State:
        """The state that `save` was given. It must be of the step that the folder's name says, and of this run.

        Raises ValueError, and not DamagedError, for a damaged `run.json`: no checkpoint is to blame for it.
        """
        content = self._content(STATE, LARGEST_STATE)
        try:
            state = parse_json(content)
            problem = mismatch(state, State)
        except ValueError as error:
            problem = str(error)
        if problem := problem or self._is_of_another(state):
            raise DamagedError(self.path / STATE, problem)
        return state

    def _is_of_another(self, state: State) -> str | None:
        """How the state contradicts its folder, in words."""
        if state["step"] != self.step:
            return f"it is of step {state['step']}, its folder has another name"
        if state["best_step"] is not None and not 0 <= state["best_step"] <= self.step:
            return f"its best_step is {state['best_step']}"
        expected = identity.read(self.path.parents[1])
        return "it is of another run" if expected not in (None, state["run"]) else None

    def weights(self) -> dict[str, Tensor]:
        """Parameters by name, on the CPU; all of them are finite."""
        return self._tensors(WEIGHTS)

    def velocity(self) -> dict[str, Tensor]:
        """Velocity by parameter name, on the CPU; all of it is finite."""
        return self._tensors(VELOCITY)

    def check(self) -> None:
        """Read and check everything: checksums, the state, names, shapes and number formats, and that all is finite."""
        weights, velocity = self.weights(), self.velocity()
        for name in sorted(weights.keys() | velocity.keys()):
            for file, tensors in ((WEIGHTS, weights), (VELOCITY, velocity)):
                if name not in tensors:
                    raise DamagedError(self.path / file, f"{name} is missing")
            if _form(velocity[name]) != _form(weights[name]):
                problem = f"{name} is {_form(velocity[name])}, and in {WEIGHTS} {_form(weights[name])}"
                raise DamagedError(self.path / VELOCITY, problem)
        self.state()

    def check_sums(self) -> None:
        """Check what may have changed since the checkpoint was written: checksums and state."""
        for name in (WEIGHTS, VELOCITY):
            with self._named(name):
                self._compare(name, checksum(self.path / name, LARGEST_TENSORS))
        self.state()

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            # Read, not memory-mapped: where a mapped file is cut short or its disk fails, the process dies (SIGBUS).
            tensors = load(self._content(name, LARGEST_TENSORS))
        except SafetensorError as error:
            raise DamagedError(self.path / name, " ".join(str(error).split())) from None
        for parameter, values in tensors.items():
            if values.dtype not in (torch.float32, torch.float64):
                raise DamagedError(self.path / name, f"{parameter} is {_form(values)}, not float32")
            if not values.sum(dtype=torch.float64).isfinite():
                raise DamagedError(self.path / name, f"{parameter} is not finite")
        return tensors

    def _content(self, name: str, limit: int) -> bytes:
        """The file's bytes. DamagedError unless they match the checksum and are at most `limit`."""
        with self._named(name):
            content = read_regular(self.path / name, limit)
            self._compare(name, hashlib.sha256(content).hexdigest())
        return content

    def _compare(self, name: str, found: str) -> None:
        """DamagedError unless `found` is the checksum that SHA256SUMS lists for the file."""
        try:
            listed = read_regular(self.path / SUMS, LARGEST_STATE).decode("ascii", "replace")
        except OSError as error:
            raise DamagedError(self.path / SUMS, reason(error)) from None
        if f"{found}  {name}" not in listed.splitlines():
            raise DamagedError(self.path / name, f"its checksum is not the one in {SUMS}")

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Turn an OSError into a DamagedError that names the file."""
        try:
            yield
        except OSError as error:
            raise DamagedError(self.path / name, reason(error)) from None


def _form(tensor: Tensor) -> str:
    """Number format and shape: "float32 [96, 3, 11, 11]"."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
