"""Errors as the original program counted them, and the log of a run."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

import torch
from torch import Tensor

from alexnet.files import durable
from alexnet.files.json_file import mismatch, parse_json
from alexnet.files.printable import printable_lines
from alexnet.files.regular import read_regular


def top_k_credit(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Credit for each prediction, between 0 and 1: float64 [B] from scores [B, C] and labels int64 [B].

    With g classes scored above the label and q scored the same (itself included), the credit is 1 where all q fit among
    the first k, else the fraction (k - g) / q that fits, at least 0 (docs/specification.md, "Testing"). So a constant
    output scores chance. Scores that are not finite earn 0.
    """
    own = scores.gather(1, labels[:, None])
    lowest, highest = scores.amin(1), scores.amax(1)  # not finite where any score is not
    above = highest > own[:, 0] if k == 1 else (scores > own).sum(1)  # one is as many as all of them
    tied = (scores == own).sum(1)
    credit = ((k - above.double()) / tied.clamp(min=1)).clamp(0, 1)
    return torch.where(lowest.isfinite() & highest.isfinite(), credit, 0.0)


def errors(credit: dict[int, float], images: int) -> dict[str, float]:
    """`top1_error` and `top5_error` as fractions, from the credits for k = 1 and 5, summed over `images`."""
    return {f"top{k}_error": 1 - total / images for k, total in credit.items()}


LARGEST = 1 << 29
"""Bytes of a log: some six million steps."""


class Line(TypedDict):
    """What every line of a log has."""

    step: int
    epoch: float
    loss: float


class StepLine(Line):
    """What the line of a step has."""

    learning_rate: float


class EvaluationLine(Line):
    """What the line of an evaluation has."""

    evaluation: str
    top1_error: float
    top5_error: float


def form_of(line: object) -> type[Line]:
    """The form that a line must have."""
    return EvaluationLine if isinstance(line, dict) and "evaluation" in line else StepLine


def interval(error: float, images: float) -> tuple[float, float]:
    """The 95 % confidence interval of an error rate measured on `images`, as fractions (Wilson's score interval)."""
    z = 1.96
    centre, spread = error + z**2 / (2 * images), z * math.sqrt(error * (1 - error) / images + (z / images / 2) ** 2)
    low, high = ((centre + sign * spread) / (1 + z**2 / images) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def with_interval(error: float, images: int) -> str:
    """An error rate and its 95 % interval in per cent: "17.4 % (15.8 to 19.1)"."""
    return in_words(error, interval(min(max(error, 0.0), 1.0), images))


def in_words(error: float, interval: Sequence[float]) -> str:
    """An error rate and its interval [low, high] in per cent."""
    return f"{100 * error:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


class MetricsLog:
    """The log of a run: `metrics.jsonl` (an object per step and per evaluation), TensorBoard events, and warnings.

    Use it as a context manager. With `silent` it does nothing: of several ranks only the first one logs.
    """

    def __init__(self, run: Path, step: int, silent: bool = False) -> None:
        """Resume the log of `run` after `step`: lines of later steps are dropped, those steps will be done again."""
        self.silent, self.warnings = silent, list[str]()
        if silent:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "metrics.jsonl"
        if self.path.exists():
            kept = [line for line in read_lines(self.path) if line["step"] <= step]
            with durable.whole(self.path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self.file = self.path.open("a", encoding="utf-8")
        self.events = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.silent:
            self.file.close()
            self.events.close()

    def write(self, step: int, epoch: float, values: Mapping[str, float | str]) -> None:
        """Write one line for `step` (steps done) at `epoch` (epochs done, fractional)."""
        if self.silent:
            return
        self.file.write(json.dumps({"step": step, "epoch": round(epoch, 4), **values}) + "\n")
        kind = values.get("evaluation", "train")
        for name, value in values.items():
            if isinstance(value, int | float):
                self.events.add_scalar(f"{kind}/{name}", value, step)

    def warn(self, sentence: str | None) -> None:
        """Say `sentence`, if there is one, on standard error, and keep it in `warnings`."""
        if sentence is not None and not self.silent:
            self.warnings.append(sentence)
            print(printable_lines(f"warning: {sentence}"), file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Bring everything to the disk."""
        if not self.silent:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.events.flush()


def read_lines(path: Path) -> list[dict]:
    """The objects of a `metrics.jsonl`.

    A last line that a crash cut off is left out. So is any other line that cannot be read, with a warning on stderr.
    """
    lines = []
    texts = read_regular(path, LARGEST).decode("utf-8", "replace").splitlines()
    for number, text in enumerate(texts, start=1):
        try:
            line = parse_json(text)
            if problem := mismatch(line, form_of(line)):
                raise ValueError(problem)
            lines.append(line)
        except ValueError:
            if number < len(texts):
                sentence = f"warning: {path}, line {number}, cannot be read and is left out."
                print(printable_lines(sentence), file=sys.stderr, flush=True)
    return lines
