"""Results: what was measured of each run, small enough to be committed and copied to another machine.

`OUT/results/ARM/SEED.json` has the numbers, `ARM/SEED-NAME.npy` beside it arrays (outputs per image, kernels), and
`ARM/SEED-NAME.png` panels. Everything else is computed from them: the ledger, the verdicts, the figures, the report. To
merge what two machines measured, copy one folder `results` over the other.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from alexnet.files import durable
from alexnet.files.arrays import read_array
from alexnet.files.json_file import read_json
from alexnet.files.regular import reason
from alexnet.reproduce.arms import Run

VERSION = 1


class Errors(TypedDict):
    """Fractions."""

    top1_error: float
    top5_error: float


class Images(TypedDict):
    """The data set."""

    role: str
    identity: str
    classes: int
    size: int
    train: int
    val: int
    """Images of each split."""


class Machine(TypedDict):
    """What of `alexnet.bench.measure.machine` is shown."""

    processor: str
    cores: int
    device: str
    torch: str
    python: str


class Curves(TypedDict):
    """What changed while the run was trained."""

    epochs: list[float]
    """Epochs done at each evaluation, on all validation images, centre view."""
    top1_error: list[float]
    top5_error: list[float]
    loss: list[float]
    parts: int
    """Parts of an epoch that the next two are means over."""
    train_loss: list[float]
    train_top1_error: list[float]
    """On the training batches, as the network sees them: with crops, colour noise and dropout."""
    learning_rate: list[float]


class Result(TypedDict):
    """What was measured of a run."""

    version: int
    identity: str
    seed: int
    label: str
    settings: dict[str, Any]
    """What differs from the paper's settings."""
    data: Images
    images: int
    """Validation images that the errors are measured on: all of them."""
    centre: Errors
    train: dict[str, float]
    """`top1_error`, `top5_error`, and `loss` unless it diverged, on some training images: centre view, no dropout."""
    curves: Curves
    parameters: int
    multiply_adds: int
    """For an image, forward."""
    epochs: float
    steps: int
    seconds: float
    images_per_second: float
    dtype: str
    machine: Machine
    versions: dict[str, str]
    date: str
    weights: str
    """SHA-256 of the trained weights."""
    diverged: str
    """The sentence with which a training ended whose loss or weights were no longer numbers; else empty."""
    measures: dict[str, dict[str, float]]
    """What else was measured, by name: numbers."""


def has(result: Result, measures: Sequence[str]) -> bool:
    """Whether all of these have been measured; of a run that diverged nothing can be."""
    return set(measures) <= set(result["measures"]) or bool(result["diverged"])


def problem_of(result: Result) -> str | None:
    """What in a result cannot have been measured, in words; None where all could."""
    curves = result["curves"]
    seen = [curves[key] for key in ("epochs", "top1_error", "top5_error", "loss")]
    trained = [curves[key] for key in ("train_loss", "train_top1_error", "learning_rate")]
    if len(set(map(len, seen))) > 1 or len(set(map(len, trained))) > 1 or curves["parts"] < 1:
        return "its curves have different lengths"
    if not result["diverged"] and not (seen[0] and trained[0]):
        return "its curves are empty"
    measured = [each.values() for each in (*result["measures"].values(), result["train"])]
    numbers = [result["epochs"], result["seconds"], result["images_per_second"]]
    if not all(map(math.isfinite, itertools.chain(numbers, *seen, *trained, *measured))):
        return "one of its numbers is not finite"
    errors = [*curves["top1_error"], *curves["top5_error"], *curves["train_top1_error"], *result["centre"].values()]
    errors += [result["train"].get(key, -1.0) for key in ("top1_error", "top5_error")]
    return None if all(0 <= error <= 1 for error in errors) else "one of its errors is no fraction"


def read_result(path: Path) -> Result:
    """A file of results. ValueError with the reason where it is damaged."""
    found = read_json(path, Result)
    if problem := problem_of(found):
        raise ValueError(problem)
    return found


@dataclass(frozen=True)
class Results:
    """The folder of results."""

    folder: Path

    def path(self, run: Run) -> Path:
        """The file of a run's numbers."""
        return self.folder / f"{run.name}.json"

    def array_path(self, run: Run, name: str) -> Path:
        """The file of one of its arrays."""
        return self.folder / f"{run.name}-{name}.npy"

    def panel_path(self, run: Run, name: str) -> Path:
        """The file of one of its panels."""
        return self.folder / f"{run.name}-{name}.png"

    def read(self, run: Run) -> Result | None:
        """What was measured of a run; None where that is missing or is of other settings.

        ValueError, naming the file, for one that is damaged.
        """
        path = self.path(run)
        if not path.exists():
            return None
        try:
            found = read_result(path)
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): delete it to measure the run again.") from None
        if found["version"] != VERSION or found["identity"] != run.identity or found["seed"] != run.seed:
            return None
        return found

    def array(self, run: Run, name: str, sides: int) -> np.ndarray:
        """An array of a run, with so many sides. ValueError, naming the file, where it is missing or damaged."""
        path = self.array_path(run, name)
        try:
            array = read_array(path)
            if array.ndim != sides or not array.size or array.dtype.kind not in "fi" or not np.isfinite(array).all():
                raise ValueError(f"it is {array.dtype} {list(array.shape)}, or not finite")
            return array
        except (OSError, ValueError) as error:
            advice = f"delete {self.path(run)} too, to measure the run again"
            raise ValueError(f"{path} cannot be read ({reason(error)}): {advice}.") from None

    def write(self, run: Run, result: Result, arrays: Mapping[str, np.ndarray]) -> None:
        """Write what was measured of a run: the arrays first, so that numbers never stand without them."""
        path = self.path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            with durable.whole(self.array_path(run, name)) as temporary, temporary.open("wb") as file:
                np.save(file, array)
        durable.write_json(path, result)

    def all(self) -> Iterator[Result]:
        """All results that are there and can be read, whatever experiment they belong to."""
        for path in sorted(self.folder.glob("*/*.json")):
            try:
                yield read_result(path)
            except ValueError:
                continue
