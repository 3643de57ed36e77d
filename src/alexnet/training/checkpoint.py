"""Checkpoints on disk: folders `checkpoints/step-00001234` of a run, written whole or not at all.

Each holds `weights.safetensors`, `velocity.safetensors` and `state.json` (what they hold: `alexnet.training.state`),
and `SHA256SUMS`, their checksums as `sha256sum --check` reads them. The last two checkpoints are kept, so that a
damaged one is never the only one, and the best one as of each. Only a process that holds the run's lock
(`alexnet.files.lock`) writes.
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
from alexnet.files.json_file import parse_json
from alexnet.files.regular import read_regular

WEIGHTS, VELOCITY, STATE, SUMS = "weights.safetensors", "velocity.safetensors", "state.json", "SHA256SUMS"
OURS = re.compile(r"step-(\d+)(\.\w+)?")
LARGEST_STATE, LARGEST_TENSORS = 1 << 20, 1 << 33
"""Bytes of the small files, and of weights and velocity: 8 GiB are 35 times the paper's network."""
REPLACED = ".replaced"
"""Suffix of a checkpoint while a new one of the same step takes its place. It counts until the new one is there."""


class DamagedError(ValueError):
    """A checkpoint that cannot be used. `what` is the message without the advice."""

    def __init__(self, file: Path, reason: str) -> None:
        self.what = f"{file} cannot be read ({reason})"
        super().__init__(f"{self.what}; delete its folder to resume from another checkpoint.")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk. Every method that reads raises DamagedError (a ValueError) naming the damaged file."""

    path: Path

    @property
    def step(self) -> int:
        """Training steps done when it was written."""
        match = OURS.fullmatch(self.path.name)
        assert match is not None
        return int(match[1])

    def state(self) -> dict:
        """The state that `save` was given."""
        try:
            state = parse_json(self._content(STATE, LARGEST_STATE))
        except ValueError as error:
            if isinstance(error, DamagedError):
                raise
            raise DamagedError(self.path / STATE, str(error)) from None
        if not isinstance(state, dict):
            raise DamagedError(self.path / STATE, "it is no JSON object")
        return state

    def weights(self) -> dict[str, Tensor]:
        """Parameters by name, on the CPU."""
        return self._tensors(WEIGHTS)

    def velocity(self) -> dict[str, Tensor]:
        """Velocity by parameter name, on the CPU."""
        return self._tensors(VELOCITY)

    def check(self) -> None:
        """Read every file. DamagedError for the first one that has changed since it was written."""
        for name in (WEIGHTS, VELOCITY):
            with self._named(name):
                self._compare(name, checksum(self.path / name, LARGEST_TENSORS))
        self.state()

    def _tensors(self, name: str) -> dict[str, Tensor]:
        try:
            # Read, not memory-mapped: where a mapped file is cut short or its disk fails, the process dies (SIGBUS).
            return load(self._content(name, LARGEST_TENSORS))
        except SafetensorError as error:
            raise DamagedError(self.path / name, " ".join(str(error).split())) from None

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
            raise DamagedError(self.path / SUMS, error.strerror or str(error)) from None
        if f"{found}  {name}" not in listed.splitlines():
            raise DamagedError(self.path / name, f"its checksum is not the one in {SUMS}")

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Turn an OSError into a DamagedError that names the file."""
        try:
            yield
        except OSError as error:
            raise DamagedError(self.path / name, error.strerror or str(error)) from None


def save(run: Path, step: int, weights: dict[str, Tensor], velocity: dict[str, Tensor], state: dict) -> Checkpoint:
    """Write the checkpoint of `step`. Then delete all but it, the last undamaged one before, and the best of each.

    The best one is that of `best_step` in a state. If writing fails, for whatever reason, the existing checkpoints
    stay. OSError where the disk is full.
    """
    folder = run / "checkpoints"
    final = folder / f"step-{step:08d}"
    temporary, aside = (final.with_name(final.name + suffix) for suffix in (".partial", REPLACED))
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
    if final.exists():  # at every moment either the old one or the new one is there
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    temporary.rename(final)
    durable.sync(folder)
    durable.sync(run)
    _delete_others(run, step, state.get("best_step"))
    return Checkpoint(final)


def checkpoints(run: Path) -> list[Checkpoint]:
    """All complete checkpoints of a run, oldest first."""
    found: dict[int, Checkpoint] = {}
    for folder in sorted((run / "checkpoints").glob("step-*")):  # step-2 comes before step-2.replaced
        match = OURS.fullmatch(folder.name)
        if match and match[2] in (None, REPLACED):
            found.setdefault(int(match[1]), Checkpoint(folder))
    return [found[step] for step in sorted(found)]


def find(run: Path, which: str = "best") -> Checkpoint:
    """The `best` or the `last` checkpoint.

    A damaged one is named on standard error, and the one before it is used. ValueError when there is none undamaged.
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
        f"No checkpoint of {run} can be read any more; to train from the start, delete {run / 'checkpoints'} and give "
        "the same command."
    )


@contextmanager
def room_for(run: Path) -> Iterator[None]:
    """Turn an OSError about a full disk into a ValueError that says how to resume `run`."""
    try:
        yield
    except OSError as error:
        if not durable.is_full(error):
            raise
        raise ValueError(
            f"No space is left for {run}: free some, then the same command resumes. {last_in_words(run)}"
        ) from None


def last_in_words(run: Path) -> str:
    """A sentence that names the run's last checkpoint."""
    there = checkpoints(run)
    return f"The last checkpoint is {there[-1].path}." if there else "There is no checkpoint yet."


class Due:
    """Whether a checkpoint is due by `every_steps`, or by `every_minutes` since the last one."""

    def __init__(self, config: CheckpointConfig) -> None:
        self.config = config
        self.written()

    def written(self) -> None:
        """A checkpoint has been written: count the minutes from now."""
        self.began = time.monotonic()

    def __call__(self, step: int) -> bool:
        """Whether a checkpoint is due after `step` steps."""
        steps, minutes = self.config.every_steps, self.config.every_minutes
        return (steps > 0 and step % steps == 0) or (minutes > 0 and time.monotonic() - self.began >= 60 * minutes)


def load_weights(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy the checkpoint's weights into `network`. ValueError when names or shapes do not fit."""
    copy_weights(network, checkpoint.weights(), f"{checkpoint.path} does not fit the network of its config.json")


def copy_weights(network: nn.Module, weights: dict[str, Tensor], trouble: str, missing: str = "") -> None:
    """Copy `weights` into `network`. ValueError, beginning with `trouble`, when names or shapes do not fit.

    A network on the meta device, which has no memory to copy to, takes the tensors themselves. Parameters whose names
    begin with `missing` may be missing from `weights`, and keep their values.
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
    """Delete every checkpoint but that of `step`, the last undamaged one before it, and the best of each.

    Those of later steps go too: the training has resumed from before them. So does what an interruption left half
    written or half deleted.
    """
    there = checkpoints(run)
    kept = {step, best}
    for other in reversed(there):
        if other.step < step and _is_undamaged(other):
            kept |= {other.step, other.state().get("best_step")}
            break
    names = {checkpoint.path.name for checkpoint in there if checkpoint.step in kept}
    for folder in (run / "checkpoints").iterdir():
        if OURS.fullmatch(folder.name) and folder.name not in names:
            deleted = folder.with_suffix(".deleted")  # half deleted under its own name, it would look damaged
            if folder != deleted:
                shutil.rmtree(deleted, ignore_errors=True)
                folder.rename(deleted)
            shutil.rmtree(deleted, ignore_errors=True)


def _is_undamaged(checkpoint: Checkpoint) -> bool:
    try:
        checkpoint.check()
    except DamagedError:
        return False
    return True
