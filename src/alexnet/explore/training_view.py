"""The training of a run: its curves, live while it trains, and the kernels of each kept checkpoint."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.explore import png
from alexnet.explore.guard import MissingError
from alexnet.files import lock
from alexnet.files.json_file import mismatch, parse_json
from alexnet.files.regular import open_regular
from alexnet.study.smoothing import drops, smoothed
from alexnet.study.tiles import kernel_tiles
from alexnet.training import checkpoint
from alexnet.training.metrics import LARGEST, form_of

POINTS = 400
"""Points of a smoothed curve, about."""
PART = 1 << 22
"""Bytes that are read at a time."""
STEP_KEYS = ("epoch", "loss", "learning_rate", "train_top1_error")


class Log:
    """The lines of a `metrics.jsonl` so far; each call of `read` takes only what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self.identity, self.offset, self.rest, self.bad = (0, 0), 0, b"", 0
        self.steps: list[tuple[float, ...]] = []
        self.evaluations: list[dict[str, Any]] = []

    def read(self) -> None:
        """Take in new lines. A file that was written anew, as when a training resumes, is read from its start."""
        with open_regular(self.path) as file:
            status = os.fstat(file.fileno())
            identity = status.st_dev, status.st_ino
            if identity != self.identity or status.st_size < self.offset:
                self._forget()
                self.identity = identity
            file.seek(self.offset)
            while self.offset < LARGEST and (part := file.read(PART)):
                self.offset += len(part)
                *lines, self.rest = (self.rest + part).split(b"\n")
                for line in lines:
                    self._take(line)

    def _take(self, text: bytes) -> None:
        try:
            line = parse_json(text)
            problem = mismatch(line, form_of(line))
        except ValueError as error:
            problem = str(error)
        if problem:
            self.bad += 1
        elif "evaluation" in line:
            self.evaluations.append(line)
        else:
            self.steps.append(tuple(float(line.get(key, np.nan)) for key in STEP_KEYS))


class TrainingView:
    """What is known of a run's training."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.log = Log(run / "metrics.jsonl")
        self._kept: dict[tuple[int, int], bytes] = {}

    def about(self) -> dict[str, Any]:
        """`steps` (lists `epoch`, `loss`, `learning_rate`, `train_top1_error` of equal length, smoothed), `count` of
        steps, `drops` (epochs at which the learning rate fell, and the new one), `evaluations`, `trains` (whether it
        trains now), `checkpoints` (see `described`), `unreadable` lines."""
        with self.log.lock:
            try:
                self.log.read()
            except FileNotFoundError:
                raise MissingError("This run has no metrics.jsonl, so nothing is known of its training.") from None
            steps = np.array(self.log.steps).reshape(-1, len(STEP_KEYS))
            evaluations = [each for each in self.log.evaluations if each["evaluation"] == "val"]
            bad = self.log.bad
        curves = dict(zip(STEP_KEYS, smoothed(steps, POINTS).T.tolist(), strict=True))
        return {
            "count": len(steps),
            "steps": curves,
            "drops": [{"epoch": epoch, "learning_rate": rate} for epoch, rate in drops(steps[:, 0], steps[:, 2])],
            "evaluations": [{key: line[key] for key in EVALUATION_KEYS} for line in evaluations],
            "trains": lock.is_held(self.run),
            "checkpoints": described(checkpoint.checkpoints(self.run)),
            "unreadable": bad,
        }

    def film(self, step: int, towers: int) -> bytes:
        """PNG of conv1's kernels in the checkpoint of `step`, a pixel for a weight, in rows of 12 or so."""
        found = next((each for each in checkpoint.checkpoints(self.run) if each.step == step), None)
        if found is None:
            raise MissingError("This checkpoint is not kept any more.")
        key = step, found.path.stat().st_mtime_ns
        if key not in self._kept:
            weights = found.weights().get("conv1.weight")
            if weights is None or weights.dim() != 4 or weights.shape[1] != 3:
                raise MissingError("This network has no kernels that see the image.")
            pixels = kernel_tiles(weights.float().numpy())
            side = pixels.shape[1] + 1
            framed = np.full((len(pixels), side, side, 3), 255, np.uint8)
            framed[:, :-1, :-1] = pixels
            while len(self._kept) > 8:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = png.encode(png.tile(framed, towers if len(pixels) % towers == 0 else 1))
        return self._kept[key]


EVALUATION_KEYS = ("step", "epoch", "loss", "top1_error", "top5_error")


def described(kept: Sequence[checkpoint.Checkpoint]) -> list[dict[str, Any]]:
    """`step` and `epoch` of each, and whether it is the `best`, as the last one knows; what a state does not tell is
    None."""
    found, best = [], None
    for each in kept:
        try:
            state = each.state()
        except ValueError:
            found.append({"step": each.step, "epoch": None})
        else:
            best = state["best_step"]
            found.append({"step": each.step, "epoch": state["epoch"]})
    return [each | {"best": each["step"] == best} for each in found]
