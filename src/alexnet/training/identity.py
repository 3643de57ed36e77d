"""Which run a folder holds, so that a checkpoint of another run is noticed.

`run.json` is written when a run starts and never changes. Every checkpoint repeats the identity in it.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TypedDict

from alexnet.config import TrainConfig
from alexnet.files import durable
from alexnet.files.json_file import read_json
from alexnet.files.regular import reason

FILE = "run.json"
NO_MATTER = {"epochs", "dtype", "device", "compile", "workers", "evaluate_every", "parallel", "checkpoint"}
"""Settings that do not decide what a run learns from step to step, but for rounding."""


class Identity(TypedDict):
    """What `run.json` holds."""

    identity: str


def make(config: TrainConfig, store: str) -> str:
    """The identity of a run that starts with `config` on the store with the fingerprint `store`."""
    values = {key: value for key, value in dataclasses.asdict(config).items() if key not in NO_MATTER}
    return hashlib.sha256(json.dumps([values, store]).encode()).hexdigest()


def read(run: Path) -> str | None:
    """The identity of a run folder; None where it has none. ValueError for a damaged file."""
    try:
        return read_json(run / FILE, Identity)["identity"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{run / FILE} cannot be used ({reason(error)}); delete it to take its content anew."
        ) from None


def write(run: Path, identity: str) -> None:
    """Write `run.json`."""
    durable.write_json(run / FILE, {"identity": identity})
