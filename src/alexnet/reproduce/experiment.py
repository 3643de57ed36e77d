"""What an experiment is, and the evidence that it reads: the results of its arms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from alexnet.reproduce.arms import Arm, Run
from alexnet.reproduce.results import Result, Results
from alexnet.reproduce.scales import Scale
from alexnet.reproduce.timing import Timing

Values = Mapping[int, float]
"""A value for each seed."""


@dataclass(frozen=True)
class Planned:
    """An arm that an experiment needs, with the seeds that it needs it for."""

    arm: Arm
    seeds: Sequence[int]
    stands_for: int = 0
    """Not 0: the arm cannot be known before other runs are done. It stands for so many epochs."""


@dataclass(frozen=True)
class Evidence:
    """The results that are there, by arm and seed."""

    scale: Scale
    runs: Mapping[tuple[Arm, int], Run]
    """The runs that experiments have asked for."""
    done: Mapping[str, Result]
    """Results by the name of their run."""
    results: Results
    timings: Mapping[str, Timing] = field(default_factory=dict)
    """Measured times by their name."""
    roles: frozenset[str] = frozenset()
    """The data sets that are there."""

    def of(self, arm: Arm) -> dict[int, Result]:
        """The results of an arm by seed."""
        found = {}
        for (each, seed), run in self.runs.items():
            if each == arm and run.name in self.done:
                found[seed] = self.done[run.name]
        return dict(sorted(found.items()))

    def run(self, arm: Arm, seed: int) -> Run:
        """The run of an arm with a seed. KeyError where none is planned."""
        return self.runs[arm, seed]

    def error(self, arm: Arm, views: int = 10, k: int = 1) -> Values:
        """Top-k error on the validation images in per cent; of the centre view, or of ten."""
        if views == 1:
            return {seed: 100 * result["centre"][f"top{k}_error"] for seed, result in self.of(arm).items()}
        return {seed: 100 * error for seed, error in self.measure(arm, "ten_views", f"top{k}_error").items()}

    def measure(self, arm: Arm, name: str, number: str) -> Values:
        """A number of a measure. A network that diverged guesses, whatever is asked of it that is an error."""
        found = {}
        for seed, result in self.of(arm).items():
            if result["diverged"] and number in result["centre"]:
                found[seed] = result["centre"][number]
            elif name in result["measures"] and number in result["measures"][name]:
                found[seed] = result["measures"][name][number]
        return found

    def training(self, arm: Arm, number: str = "top1_error") -> Values:
        """Error (in per cent) or loss on training images, as validation sees images."""
        factor = 1 if number == "loss" else 100
        return {
            seed: factor * result["train"][number] for seed, result in self.of(arm).items() if number in result["train"]
        }

    def gap(self, arm: Arm) -> Values:
        """Validation error minus training error, centre view, in points."""
        training = self.training(arm)
        return {seed: value - training[seed] for seed, value in self.error(arm, 1).items() if seed in training}

    def panel(self, arm: Arm, name: str) -> str | None:
        """The panel of the first seed, a path below `results`; None where it has not been drawn."""
        run = self.runs.get((arm, 0))
        path = self.results.panel_path(run, name) if run else None
        return str(path.relative_to(self.results.folder)) if path and path.is_file() else None

    def array(self, arm: Arm, seed: int, name: str, sides: int) -> np.ndarray:
        """An array that was measured of a run, with so many sides."""
        return self.results.array(self.runs[arm, seed], name, sides)


@dataclass(frozen=True)
class Side:
    """One arm of a comparison: what it is, and its value for each seed; lower is better."""

    label: str
    values: Values


@dataclass(frozen=True)
class Comparison:
    """Two arms, and further ones beside them."""

    what: str
    """What the values are: "top-1 error, ten views"."""
    unit: str
    better: Side
    """The arm that the claim says is better."""
    other: Side
    further: Sequence[Side] = ()
    images: int = 0
    """Images that a value is measured on."""
    judged: bool = True
    """Whether it has a verdict."""


@dataclass(frozen=True)
class Found:
    """What an experiment has found so far."""

    main: Comparison
    also: Sequence[Comparison] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    """Other numbers, as JSON values."""
    notes: Sequence[str] = ()
    """Sentences for the report."""
    panels: Mapping[str, str] = field(default_factory=dict)
    """Captions of panels that were drawn when the run was measured, by the path of their file below `results`."""


Draw = Callable[[Evidence, Found], Figure | None]


@dataclass(frozen=True)
class Experiment:
    """A claim of the paper, and how it is measured."""

    name: str
    title: str
    section: str
    """Where the paper says it."""
    claim: str
    """In our words."""
    paper: str
    """The paper's number."""
    original: str
    """What the original program's log says; empty where that is not known."""
    differs: str
    """What differs from the paper's conditions, at scales other than `imagenet`."""
    arms: Callable[[Scale, Evidence], Sequence[Planned]]
    """The arms that it needs, as far as the evidence so far tells."""
    find: Callable[[Evidence], Found]
    """Compares them."""
    draw: Draw
    """The figure; None where nothing is there to draw."""
    caption: str
    lesson: str = ""
    """What to look at in a lesson."""
    timings: Sequence[str] = ()
    """Times that it needs: names in `timing.TIMINGS`."""


def paired(better: Side, other: Side) -> tuple[list[int], list[float], list[float]]:
    """The seeds that both arms have, and their values."""
    seeds = sorted(set(better.values) & set(other.values))
    return seeds, [better.values[seed] for seed in seeds], [other.values[seed] for seed in seeds]


def is_measured(found: Found) -> bool:
    """Whether any arm of an experiment has a value."""
    return any(side.values for each in (found.main, *found.also) for side in (each.better, each.other, *each.further))


def seeds(scale: Scale) -> range:
    """The seeds of an arm."""
    return range(scale.seeds)


def images_of(evidence: Evidence, *arms: Arm) -> int:
    """Validation images that the errors of these arms are measured on."""
    return max((result["images"] for arm in arms for result in evidence.of(arm).values()), default=0)


def errors_compared(
    evidence: Evidence,
    better: Arm,
    other: Arm,
    labels: Sequence[str],
    k: int = 1,
    further: Sequence[Side] = (),
    views: int = 10,
) -> Comparison:
    """Top-k errors of two arms on the validation images."""
    what = f"top-{k} error, {'ten views' if views == 10 else 'centre view'}"
    first, second = (evidence.error(arm, views, k) for arm in (better, other))
    images = images_of(evidence, better, other)
    return Comparison(what, "points", Side(labels[0], first), Side(labels[1], second), further, images)


def gap_compared(evidence: Evidence, better: Arm, other: Arm, labels: Sequence[str]) -> Comparison:
    """How much higher the error is on validation than on training images: overfitting."""
    what = "validation minus training error (top-1, centre view)"
    sides = [Side(label, evidence.gap(arm)) for label, arm in zip(labels, (better, other), strict=True)]
    return Comparison(what, "points", sides[0], sides[1], images=images_of(evidence, better, other))
