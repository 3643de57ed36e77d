"""Results: what was measured of each run, small enough to be committed and copied to another machine.

`OUT/results/ARM/SEED.json` has the numbers, `ARM/SEED-NAME.npy` beside it arrays (outputs per image, kernels), and
`ARM/SEED-NAME.png` panels. Everything else is computed from them: the ledger, the verdicts, the figures, the report. To
merge what two machines measured, copy one folder `results` over the other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from alexnet.files import durable
from alexnet.files.arrays import read_array
from alexnet.files.json_file import read_json
from alexnet.reproduce.arms import Run

VERSION = 1


class Errors(TypedDict):
    """Fractions."""

    top1_error: float
    top5_error: float


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
    data: dict[str, Any]
    """`role`, `identity`, `classes`, `size`, `train` and `val` images."""
    images: int
    """Validation images that the errors are measured on: all of them."""
    centre: Errors
    train: dict[str, float]
    """`top1_error`, `top5_error` and `loss` on `images` training images: centre view, without dropout."""
    curves: Curves
    parameters: int
    multiply_adds: int
    """For an image, forward."""
    epochs: float
    steps: int
    seconds: float
    images_per_second: float
    dtype: str
    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    weights: str
    """SHA-256 of the trained weights."""
    diverged: str
    """The sentence with which a training ended whose loss or weights were no longer numbers; else empty."""
    measures: dict[str, Any]
    """What else was measured, by name: numbers, and the names of arrays and panels."""


def has(result: Result, measures: Sequence[str]) -> bool:
    """Whether all of these have been measured; of a run that diverged nothing can be."""
    return set(measures) <= set(result["measures"]) or bool(result["diverged"])


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
            found = read_json(path, Result)
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): delete it to measure the run again.") from None
        if found["version"] != VERSION or found["identity"] != run.identity or found["seed"] != run.seed:
            return None
        return found

    def array(self, run: Run, name: str) -> np.ndarray:
        """An array of a run. ValueError, naming the file, where it is missing or damaged."""
        path = self.array_path(run, name)
        try:
            return read_array(path)
        except (OSError, ValueError) as error:
            advice = f"delete {self.path(run)} too, to measure the run again"
            raise ValueError(f"{path} cannot be read ({error}): {advice}.") from None

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
                yield cast(Result, read_json(path, Result))
            except ValueError:
                continue
