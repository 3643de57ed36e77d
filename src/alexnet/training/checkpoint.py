"""Checkpoints on disk: folders `checkpoints/step-00001234` of a run, written whole or not at all.

Each holds `weights.safetensors`, `velocity.safetensors` and `state.json` (what they hold: `alexnet.training.state`),
and `SHA256SUMS`, their checksums as `sha256sum --check` reads them. The last two checkpoints are kept, so that a
damaged one is never the only one, and the best one as of each. Only a process that holds the run's lock
(`alexnet.files.lock`) writes.
"""

import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from alexnet.config import CheckpointConfig
from alexnet.files import durable
from alexnet.files.checksums import checksum
from alexnet.files.printable import printable_lines
from alexnet.training.checkpoint_file import OURS, STATE, SUMS, VELOCITY, WEIGHTS, Checkpoint, DamagedError, State

REPLACED = ".replaced"
"""Suffix of a checkpoint while a new one of the same step takes its place. It counts until the new one is there."""

Result = TypeVar("Result")


def save(run: Path, step: int, weights: dict[str, Tensor], velocity: dict[str, Tensor], state: State) -> Checkpoint:
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
    _delete_others(run, step, state["best_step"])
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
    """The `best` or the `last` checkpoint, whole and undamaged.

    A damaged one is named on standard error, and another one is used. ValueError when there is none undamaged.
    """
    return _first_undamaged(run, which, Checkpoint.check)[0]


def find_weights(run: Path, which: str = "best") -> tuple[Checkpoint, dict[str, Tensor]]:
    """As `find`, but only the weights and the state are looked at; and the weights. `which` may also be a step: then
    no other checkpoint will do, and a damaged one raises DamagedError (a ValueError)."""
    if which.isdecimal():
        chosen = of_step(run, int(which))
        return chosen, chosen.weights()
    return _first_undamaged(run, which, Checkpoint.weights)


def of_step(run: Path, step: int) -> Checkpoint:
    """The checkpoint of `step`. ValueError, with the steps of those that are there, where there is none."""
    there = {checkpoint.step: checkpoint for checkpoint in checkpoints(run)}
    if step not in there:
        steps = f"its checkpoints are of step {' and '.join(map(str, there))}" if there else "it has no checkpoint"
        raise ValueError(f"{run} has no checkpoint of step {step}; {steps}.")
    return there[step]


def _first_undamaged(run: Path, which: str, read: Callable[[Checkpoint], Result]) -> tuple[Checkpoint, Result]:
    """The `best` or the `last` checkpoint that can be read, and what `read` returns for it."""
    there = checkpoints(run)
    if not there:
        raise ValueError(f"{run} has no checkpoint; train it first: alexnet train STORE {run}")
    for candidate in reversed(there):
        try:
            best = candidate.state()["best_step"] if which == "best" else None
            chosen = next((each for each in there if each.step == best), candidate)
            try:
                return chosen, read(chosen)
            except DamagedError as damage:
                if chosen == candidate:
                    raise
                _warn(f"{damage.what}; trying {candidate.path.name}, the last one, instead of the best.")
            return candidate, read(candidate)
        except DamagedError as damage:
            _warn(f"{damage.what}; trying the checkpoint before it.")
    raise ValueError(
        f"No checkpoint of {run} can be used any more; to train from the start, delete {run / 'checkpoints'} and give "
        "the same command."
    )


def _warn(sentence: str) -> None:
    print(printable_lines(f"warning: {sentence}"), file=sys.stderr, flush=True)


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


def load_weights(network: nn.Module, checkpoint: Checkpoint, weights: dict[str, Tensor] | None = None) -> None:
    """Copy the checkpoint's weights (`weights`, if they are read already) into `network`. ValueError when they do not
    fit."""
    trouble = f"{checkpoint.path} does not fit the network of its config.json"
    copy_weights(network, checkpoint.weights() if weights is None else weights, trouble)


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
            kept |= {other.step, other.state()["best_step"]}
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
        checkpoint.check_sums()
    except DamagedError:
        return False
    return True
