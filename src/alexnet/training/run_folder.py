"""The folder of a run: its small files, and whether settings, store and folder fit each other."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.config import TrainConfig, load_config, save_config
from alexnet.data.classes import write_classes
from alexnet.data.store.reader import Store
from alexnet.files import durable
from alexnet.files.words import counted
from alexnet.ranges import UsageError
from alexnet.training import checkpoint, identity
from alexnet.training.checkpoint_file import State

FREE_TO_CHANGE = {
    *("epochs", "dtype", "device", "compile", "workers", "evaluate_every", "start_from", "parallel"),
    *("augment", "optim", "schedule", "checkpoint"),
}
"""Settings that may differ when a run resumes. With any other change it would be another run."""

LATEST = 10.0
"""Seconds until a network disk shows what another machine has written to it."""


def fit_to_store(config: TrainConfig, store: Store) -> TrainConfig:
    """The configuration with what the store decides: the number of classes, and whether EXIF turned its images.

    ValueError when store and settings do not fit.
    """
    if "train" not in store.splits:
        raise ValueError(f"{store.path} has no training split.")
    if config.network.input_size > store.size:
        raise ValueError(
            f"The network takes images of {config.network.input_size} pixels but {store.path} holds images of "
            f"{store.size}; set --network.input-size, or prepare with a larger --size."
        )
    if store.splits["train"] < config.batch_size:
        raise ValueError(
            f"{store.path} has {counted(store.splits['train'], 'training image')}, fewer than one batch of "
            f"{config.batch_size}; use a smaller --batch-size."
        )
    if config.schedule.kind == "plateau" and "val" not in store.splits:
        raise ValueError(
            f"{store.path} has no validation split, which --schedule.kind plateau needs; prepare it with "
            "--val-fraction, or use --schedule.kind epochs --schedule.drop-epochs ..."
        )
    network = dataclasses.replace(config.network, classes=len(store.classes))
    return dataclasses.replace(config, network=network, honour_exif=store.honours_exif)


def check_run(run: Path, config: TrainConfig) -> None:
    """UsageError for a run that `config` cannot resume, ValueError where other files are in the way. Writes nothing."""
    path = run / "config.json"
    if path.exists():
        refuse_changes(UsageError, f"{run} was started", fixed_settings(load_config(path)), fixed_settings(config))
    elif run.exists() and any(not path.name.startswith(durable.NEW) for path in run.iterdir()):
        raise ValueError(f"{run} is not empty and holds no run; choose another folder.")


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that may not change when a run resumes, as JSON values."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if key not in FREE_TO_CHANGE}
    return json.loads(json.dumps(values))


def refuse_changes(
    kind: type[ValueError], what: str, before: dict[str, Any], after: dict[str, Any], prefix: str = ""
) -> None:
    """An error, beginning with `what` ("RUN was started"), for the first setting that has another value."""
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            refuse_changes(kind, what, old, new, f"{name}.")
        elif old != new:
            setting = prefix + name
            raise kind(
                f"{what} with {setting} {_shown(old)} and this is {setting} {_shown(new)}; "
                "leave it as it was to resume, or choose another run folder."
            )


def check_settings(config: TrainConfig, state: State, run: Path) -> None:
    """ValueError where a checkpoint was trained with other settings than `config`, of config.json, says."""
    refuse_changes(ValueError, f"The checkpoints of {run} were trained", state["settings"], fixed_settings(config))


def write_run(run: Path, config: TrainConfig, store: Store) -> None:
    """Make the run folder with its small files."""
    run.mkdir(parents=True, exist_ok=True)
    with durable.whole(run / "config.json") as file:  # first: without it the folder is no run, and cannot be resumed
        save_config(config, file)
    with durable.whole(run / "mean.npy") as file:
        np.save(file, store.mean)
    if identity.read(run) is None:
        there = checkpoint.checkpoints(run)
        mine = checkpoint.find(run, "last").state()["run"] if there else identity.make(config, fingerprint(store))
        identity.write(run, mine)
    write_classes(run / "classes.json", store.classes)


def fingerprint(store: Store) -> str:
    """A checksum of the store's contents, from the checksums of its shards."""
    sums = "".join(shard["sha256"] for shard in store.info["shards"])
    return hashlib.sha256(sums.encode()).hexdigest()


def common_settings(config: TrainConfig) -> dict[str, str]:
    """The settings that all ranks of a training must share, by name, as text."""
    return {
        name: _shown(value)
        for name, value in _flat(json.loads(json.dumps(dataclasses.asdict(config)))).items()
        if name not in ("device", "workers")
    }


def await_identity(run: Path) -> str:
    """The identity of a run that another rank has just made; "none" where it does not appear in the folder."""
    end = time.monotonic() + LATEST
    while (found := identity.read(run)) is None and time.monotonic() < end:
        time.sleep(0.1)
    return found or "none"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one: {"optim": {"lr": 1}} becomes {"optim.lr": 1}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _shown(value: Any) -> str:
    """A setting's value as it is written on the command line."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
