"""Errors as the original program counted them, and where a run writes its numbers."""

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from alexnet.files import durable


def top_k_credit(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Credit of each prediction, between 0 and 1: float64 [B] from scores [B, C] and labels int64 [B].

    With g classes strictly above the label and q tied with it (itself included): 1 where all q fit among the first
    k, the fraction (k - g) / q of them that fits otherwise, at least 0. A constant output therefore scores chance.
    Not-a-number is above everything: a broken network earns nothing.
    """
    own = scores.gather(1, labels[:, None])
    above = (scores > own).sum(1).double()
    tied = (scores == own).sum(1).double()
    credit = ((k - above) / tied.clamp(min=1)).clamp(0, 1)
    return torch.where(scores.isfinite().all(1), credit, 0.0)


def errors(credit: dict[int, float], images: int) -> dict[str, float]:
    """`top1_error` and `top5_error` as fractions, from the summed credits for k = 1 and 5."""
    return {f"top{k}_error": 1 - total / images for k, total in credit.items()}


class MetricsLog:
    """`metrics.jsonl` (one object per step and per evaluation) and TensorBoard events, in a run folder."""

    def __init__(self, run: Path, step: int) -> None:
        """Continue the log of `run` at `step`: lines of later steps are dropped, they will be made again."""
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "metrics.jsonl"
        if self.path.exists():
            kept = [line for line in read_lines(self.path) if line["step"] <= step]
            with durable.whole(self.path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self.file = self.path.open("a", encoding="utf-8")
        self.events = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, epoch: float, values: dict[str, float | str | int]) -> None:
        """One line for `step` (steps done so far) at `epoch` (fractional epochs done)."""
        self.file.write(json.dumps({"step": step, "epoch": round(epoch, 4)} | values) + "\n")
        kind = values.get("evaluation", "train")
        for name, value in values.items():
            if isinstance(value, int | float):
                self.events.add_scalar(f"{kind}/{name}", value, step)

    def flush(self) -> None:
        """Bring everything to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.events.flush()

    def close(self) -> None:
        """Flush and close."""
        self.file.close()
        self.events.close()


def read_lines(path: Path) -> list[dict]:
    """The objects of a `metrics.jsonl`. A last line that was cut off by a crash is left out, and so is any other that
    cannot be read, which is said on stderr."""
    lines = []
    texts = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            if not isinstance(line["step"], int):
                raise TypeError
            lines.append(line)
        except (ValueError, TypeError, KeyError):
            if number < len(texts):
                print(f"warning: {path}, line {number}, cannot be read and is left out.", file=sys.stderr, flush=True)
    return lines
