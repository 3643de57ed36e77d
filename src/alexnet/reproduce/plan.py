"""The plan: which runs the experiments need, in which order, which are done, and whose share each is.

The order is that of the experiments, the largest claims first, and within an experiment seed by seed: an interruption
leaves whole claims with all their seeds. A run that several experiments need comes once, where it is needed first.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alexnet.config import NetworkConfig
from alexnet.data.store.reader import Store
from alexnet.model.layers import layers_of
from alexnet.reproduce import timing
from alexnet.reproduce.arms import Arm, Data, Run, changed, in_words
from alexnet.reproduce.experiment import Evidence, Experiment
from alexnet.reproduce.results import Result, Results, has
from alexnet.reproduce.scales import Scale


@dataclass(frozen=True)
class DataSet:
    """The images of a role: a store, or only how many there would be, for a plan."""

    images: int
    """Training images."""
    classes: int
    identity: str = ""
    store: Store | None = None

    @classmethod
    def open(cls, path: Path) -> "DataSet":
        """Open a store. ValueError for one that has no validation images."""
        store = Store(path)
        for split in ("train", "val"):
            if not store.splits.get(split):
                raise ValueError(f"{path} has no images in '{split}', which reproduce needs: prepare it with both.")
        return cls(store.splits["train"], len(store.classes), identity_of(store), store)


def identity_of(store: Store) -> str:
    """SHA-256 of the names, labels, order and size of the images: the same wherever the same source was prepared, and
    however a store encodes its images."""
    digest = hashlib.sha256(json.dumps([store.info["classes"], store.size]).encode())
    for name in sorted(store.splits):
        split = store.split(name)
        digest.update(f"{name} {len(split)}\n".encode())
        digest.update(split.labels.tobytes())
        for index in range(len(split)):
            digest.update(split.key(index).encode() + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True)
class Item:
    """A run of the plan."""

    run: Run | None
    """None: it cannot be known before other runs are done."""
    role: Data
    """Of its images."""
    experiment: str
    """The first experiment that needs it."""
    cost: float
    """Expected multiply-adds of the training."""
    share: int
    """Whose share it is, from 0."""
    measures: tuple[str, ...] = ()
    """What any experiment measures of the run."""


@dataclass(frozen=True)
class Plan:
    """All runs of the experiments, and what is done of them."""

    items: Sequence[Item]
    evidence: Evidence
    absent: Mapping[str, str]
    """Experiments that lack a data set, and its name."""
    share: int = 0

    def missing(self) -> list[Item]:
        """The runs that are not done, or lack a measure, in order."""
        done = self.evidence.done
        return [
            item
            for item in self.items
            if item.run is None or item.run.name not in done or not has(done[item.run.name], item.measures)
        ]

    def mine(self) -> list[Item]:
        """Those of this share that can be made now. A run that is fine-tuned comes after the one it starts from."""
        done = self.evidence.done
        return [
            item
            for item in self.missing()
            if item.share == self.share
            and item.run is not None
            and (item.run.start is None or item.run.start.name in done)
        ]


@dataclass
class Planner:
    """Makes plans: anew after each run, since some arms depend on what others have shown."""

    scale: Scale
    data: Mapping[Data, DataSet]
    results: Results
    experiments: Sequence[Experiment]
    every_experiment: Sequence[Experiment]
    """Also those that are not to be run now: what they measure of a run they share is measured with it."""
    share: int = 0
    shares: int = 1
    _runs: dict[tuple[Arm, int], Run] = field(default_factory=dict)
    _seen: dict[str, tuple[object, Result | None]] = field(default_factory=dict)

    def plan(self) -> Plan:
        """The plan as things stand."""
        times = timing.read(self.results.folder, self.scale)
        evidence = Evidence(self.scale, self._runs, {}, self.results, times, frozenset(self.data))
        measures = self._measures(evidence)
        items: dict[str, Item] = {}
        absent: dict[str, str] = {}
        loads = [0.0] * self.shares
        for experiment in self.experiments:
            for arm, seed, epochs in self._wanted(experiment, evidence):
                role = next((each.data for each in _with_starts(arm) if each.data not in self.data), None)
                if role is not None:
                    absent[experiment.name] = self.scale.sets[role]
                    continue
                for each in _with_starts(arm) if not epochs else (arm,):
                    run = None if epochs else self._run(each, seed)
                    name = run.name if run else f"{experiment.name} {arm.label} {seed}"
                    if name not in items:
                        cost = self._cost(each, seed, epochs)
                        share = min(range(self.shares), key=lambda number: loads[number])
                        if run and run.start:  # its folder is where that was trained
                            share = items[run.start.name].share
                        loads[share] += cost
                        items[name] = Item(run, each.data, experiment.name, cost, share, measures.get(name, ()))
        return Plan(list(items.values()), self._evidence(evidence), absent, self.share)

    def _wanted(self, experiment: Experiment, evidence: Evidence) -> list[tuple[Arm, int, int]]:
        """Arm, seed and, for one that is not known yet, its epochs: seed by seed."""
        evidence = self._evidence(evidence, experiment)
        planned = experiment.arms(self.scale, evidence)
        highest = max((seed for each in planned for seed in each.seeds), default=-1)
        return [
            (each.arm, seed, each.stands_for)
            for seed in range(highest + 1)
            for each in planned
            if seed in each.seeds
        ]  # fmt: skip

    def _evidence(self, evidence: Evidence, experiment: Experiment | None = None) -> Evidence:
        """The evidence with the results of all runs that have been asked for so far."""
        if experiment is not None:  # the runs of its first arms, so that it can say what follows from them
            nothing = dataclasses.replace(evidence, done={})
            for each in experiment.arms(self.scale, nothing):
                for seed in each.seeds if not each.stands_for else ():
                    if all(one.data in self.data for one in _with_starts(each.arm)):
                        self._run(each.arm, seed)
        done: dict[str, Result] = {}
        for run in {run.name: run for run in self._runs.values()}.values():
            if (found := self._read(run)) is not None:
                done[run.name] = found
        return dataclasses.replace(evidence, done=done)

    def _read(self, run: Run) -> Result | None:
        """A result, read again only where its file has changed."""
        path = self.results.path(run)
        known = path.stat().st_mtime_ns if path.exists() else None
        if known is None or self._seen.get(run.name, (None, None))[0] != known:
            self._seen[run.name] = known, self.results.read(run)
        return self._seen[run.name][1]

    def _run(self, arm: Arm, seed: int) -> Run:
        """The run of an arm and a seed, resolved once."""
        if (known := self._runs.get((arm, seed))) is not None:
            return known
        data = self.data[arm.data]
        config = changed(self.scale.bases[arm.data], arm.changes)
        network = dataclasses.replace(config.network, classes=data.classes)
        config = dataclasses.replace(config, network=network, seed=seed)
        start = self._run(arm.start_from, seed) if arm.start_from else None
        run = Run(arm, seed, config, data.identity, start, in_words(self.scale.bases[arm.data], arm.changes))
        self._runs[arm, seed] = run
        return run

    def _measures(self, evidence: Evidence) -> dict[str, tuple[str, ...]]:
        """All that any experiment measures of each run, by the run's name."""
        found: dict[str, tuple[str, ...]] = {}
        for experiment in self.every_experiment:
            for arm, seed, epochs in self._wanted(experiment, evidence):
                if not epochs and all(each.data in self.data for each in _with_starts(arm)):
                    name = self._run(arm, seed).name
                    found[name] = tuple(sorted({*found.get(name, ()), *arm.measures}))
        return found

    def _cost(self, arm: Arm, seed: int, epochs: int) -> float:
        """Multiply-adds of a training, forward."""
        config = changed(self.scale.bases[arm.data], arm.changes)
        return multiply_adds(config.network) * (epochs or config.epochs) * self.data[arm.data].images


def multiply_adds(network: NetworkConfig) -> int:
    """Multiply-adds of an image, forward."""
    return sum(layer.multiply_adds for layer in layers_of(network))


def _with_starts(arm: Arm) -> list[Arm]:
    """The arm, after those that it starts from."""
    return [*(_with_starts(arm.start_from) if arm.start_from else []), arm]
