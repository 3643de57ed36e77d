"""Checkpoints of a run: folders `checkpoints/step-00001234`, written whole or not at all.

Each holds `weights.safetensors` (the network under plain names), `velocity.safetensors` (the momentum, under the
same names), `state.json` (where the training stands) and `SHA256SUMS` (their checksums, as `sha256sum --check` reads
them). The last two are kept, so that one that is damaged later is never the only one, and the best one of each.
Whoever writes holds the run (`alexnet.files.lock`).
"""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from alexnet.config import CheckpointConfig
from alexnet.files import durable
from alexnet.files.checksums import checksum

WEIGHTS, VELOCITY, STATE, SUMS = "weights.safetensors", "velocity.safetensors", "state.json", "SHA256SUMS"
OURS = re.compile(r"step-(\d+)(\.\w+)?")
ASIDE = ".replaced"
"""Suffix of a checkpoint that another one of the same step is about to replace; it counts until that is there."""


class DamagedError(ValueError):
    """A checkpoint that cannot be used; `what` is the text without the way out."""

    def __init__(self, file: Path, reason: str) -> None:
        self.what = f"{file} cannot be read ({reason})"
        super().__init__(f"{self.what}; delete its folder to go on with another checkpoint.")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk. Everything that reads from it raises DamagedError (a ValueError) naming the file."""

    path: Path

    @property
    def step(self) -> int:
        """Training steps done when it was written."""
        match = OURS.fullmatch(self.path.name)
        assert match is not None
        return int(match[1])

    def state(self) -> dict:
        """What `save` was given as state."""
        try:
            state = json.loads(self._content(STATE).decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise DamagedError(self.path / STATE, str(error)) from None
        if not isinstance(state, dict):
            raise DamagedError(self.path / STATE, "it holds no object")
        return state

    def weights(self) -> dict[str, Tensor]:
        """Parameters by name, on the CPU."""
        return self._tensors(WEIGHTS)

    def velocity(self) -> dict[str, Tensor]:
        """Velocity by parameter name, on the CPU."""
        return self._tensors(VELOCITY)

    def check(self) -> None:
        """Read every file; DamagedError for the first that is not what was written."""
        for name in (WEIGHTS, VELOCITY):
            with self._named(name):
                self._compare(name, checksum(self.path / name))
        self.state()

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            # Read and not mapped: a map whose file is cut short or whose disk fails ends the process (SIGBUS).
            return load(self._content(name))
        except SafetensorError as error:
            raise DamagedError(self.path / name, " ".join(str(error).split())) from None

    def _content(self, name: str) -> bytes:
        """The file, if it has its checksum."""
        with self._named(name):
            content = (self.path / name).read_bytes()
            self._compare(name, hashlib.sha256(content).hexdigest())
        return content

    def _compare(self, name: str, found: str) -> None:
        """A folder without `SHA256SUMS`, of an earlier version, is trusted."""
        try:
            listed = (self.path / SUMS).read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return
        if f"{found}  {name}" not in listed.splitlines():
            raise DamagedError(self.path / name, f"its checksum is not the one in {SUMS}")

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Names the file that the system cannot read."""
        try:
            yield
        except OSError as error:
            raise DamagedError(self.path / name, error.strerror or str(error)) from None


def save(run: Path, step: int, weights: dict[str, Tensor], velocity: dict[str, Tensor], state: dict) -> Checkpoint:
    """Write the checkpoint of `step`; then delete all but it, the last whole one before, and the `best_step` of both.

    Whatever stops it, the checkpoints that were there stay. OSError where the disk is full.
    """
    folder = run / "checkpoints"
    final = folder / f"step-{step:08d}"
    temporary, aside = (final.with_name(final.name + suffix) for suffix in (".partial", ASIDE))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for file, tensors in ((WEIGHTS, weights), (VELOCITY, velocity)):
            save_file({name: value.detach().contiguous() for name, value in tensors.items()}, temporary / file)
        (temporary / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        sums = "".join(f"{checksum(temporary / name)}  {name}\n" for name in (WEIGHTS, VELOCITY, STATE))
        (temporary / SUMS).write_text(sums, encoding="ascii")
        for file in (*temporary.iterdir(), temporary):
            durable.sync(file)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, SafetensorError) and durable.is_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary)) from None
        raise
    if final.exists():  # at no moment is there neither the old one nor the new one
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    temporary.rename(final)
    durable.sync(folder)
    durable.sync(run)
    _delete_others(run, step, state.get("best_step"))
    return Checkpoint(final)


def checkpoints(run: Path) -> list[Checkpoint]:
    """All checkpoints of a run that were finished, oldest first."""
    found: dict[int, Checkpoint] = {}
    for folder in sorted((run / "checkpoints").glob("step-*")):  # step-2 stands before step-2.replaced
        match = OURS.fullmatch(folder.name)
        if match and match[2] in (None, ASIDE):
            found.setdefault(int(match[1]), Checkpoint(folder))
    return [found[step] for step in sorted(found)]


def find(run: Path, which: str = "best") -> Checkpoint:
    """The `best` or the `last` checkpoint.

    A `last` one that is damaged is named on stderr, and the one before it is taken. ValueError when the run has none
    that is whole.
    """
    there = checkpoints(run)
    if not there:
        raise ValueError(f"{run} has no checkpoint; train it first: alexnet train STORE {run}")
    for candidate in reversed(there):
        try:
            if which == "best":
                best = candidate.state().get("best_step")
                return next((c for c in there if c.step == best), candidate)
            candidate.check()
            return candidate
        except DamagedError as damage:
            print(f"warning: {damage.what}; trying the checkpoint before it.", file=sys.stderr, flush=True)
    raise ValueError(
        f"No checkpoint of {run} can be read any more; to train it anew, delete {run / 'checkpoints'} and give the "
        "same command."
    )


@contextmanager
def room_for(run: Path) -> Iterator[None]:
    """Says of a full disk, wherever in `run` it shows, how to go on: ValueError."""
    try:
        yield
    except OSError as error:
        if not durable.is_full(error):
            raise
        raise ValueError(
            f"No space is left for {run}: free some, then the same command continues it ({way_back(run)})."
        ) from None


def way_back(run: Path) -> str:
    """In words, the checkpoint that a training which went wrong can go back to."""
    there = checkpoints(run)
    return f"{there[-1].path} is intact" if there else "there is no checkpoint yet"


class Due:
    """Tells when a checkpoint inside an epoch is due: `every_steps`, or `every_minutes` since the last one."""

    def __init__(self, config: CheckpointConfig) -> None:
        self.config = config
        self.written()

    def written(self) -> None:
        """Begin to count the minutes anew."""
        self.began = time.monotonic()

    def __call__(self, step: int) -> bool:
        """Whether to write one now that `step` steps are done."""
        steps, minutes = self.config.every_steps, self.config.every_minutes
        return (steps > 0 and step % steps == 0) or (minutes > 0 and time.monotonic() - self.began >= 60 * minutes)


def load_weights(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy the checkpoint's weights into `network`. ValueError when names or shapes do not fit."""
    copy_weights(network, checkpoint.weights(), f"{checkpoint.path} does not fit the network of its config.json")


def copy_weights(network: nn.Module, weights: dict[str, Tensor], trouble: str, missing: str = "") -> None:
    """Copy `weights` into `network`; ValueError, beginning with `trouble`, when names or shapes do not fit.

    A network on the device `meta`, which has no memory to copy to, takes the tensors themselves. Parameters whose
    names begin with `missing` may be missing, and keep their values.
    """
    own = network.state_dict()
    kept = {name for name in own if missing and name.startswith(missing) and name not in weights}
    for name in sorted(own.keys() - kept | weights.keys()):
        if name not in weights or name not in own or weights[name].shape != own[name].shape:
            raise ValueError(f"{trouble}: see {name}.")
    with torch.no_grad():
        for name in own.keys() - kept:
            if own[name].is_meta:
                network.load_state_dict({name: weights[name].to(own[name].dtype)}, strict=False, assign=True)
            else:
                own[name].copy_(weights[name])


def _delete_others(run: Path, step: int, best: object) -> None:
    """Delete what is neither of `step`, nor the last whole one before it, nor the best of either, and what was left
    half done. A checkpoint of a later step is one that the training went back from.
    """
    there = checkpoints(run)
    kept = {step, best}
    for other in reversed(there):
        if other.step < step and _is_whole(other):
            kept |= {other.step, other.state().get("best_step")}
            break
    names = {checkpoint.path.name for checkpoint in there if checkpoint.step in kept}
    for folder in (run / "checkpoints").iterdir():
        if OURS.fullmatch(folder.name) and folder.name not in names:
            deleted = folder.with_suffix(".deleted")  # half deleted it would look damaged
            if folder != deleted:
                shutil.rmtree(deleted, ignore_errors=True)
                folder.rename(deleted)
            shutil.rmtree(deleted, ignore_errors=True)


def _is_whole(checkpoint: Checkpoint) -> bool:
    try:
        checkpoint.check()
    except DamagedError:
        return False
    return True
