"""Times that claims are about: a training step with and without augmentation, and that of the paper's network.

Each is measured in rounds, the forms one after the other in each, so that they meet the same conditions.
"""

import datetime
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, cast

import torch

from alexnet.bench.measure import machine
from alexnet.bench.network import new_state, repeated, step_of
from alexnet.config import TrainConfig
from alexnet.data.store.reader import Store
from alexnet.files import durable
from alexnet.files.json_file import read_json
from alexnet.model.cpu import kernels
from alexnet.native import processor
from alexnet.reproduce.arms import changed
from alexnet.reproduce.results import Machine
from alexnet.reproduce.scales import Scale
from alexnet.training.choose_step import choose_step
from alexnet.training.device import choose_device, choose_dtype
from alexnet.training.loop import epoch_batches
from alexnet.training.ranks import Ranks
from alexnet.training.run_folder import fit_to_store
from alexnet.training.state import Setup, start

STEPS = 8
"""Training steps in a round."""


class Timing(TypedDict):
    """Seconds for an image in each round, by form."""

    name: str
    scale: str
    seconds_per_image: dict[str, list[float]]
    machine: Machine
    device: str
    dtype: str
    date: str
    others: float
    """Cores that other programs kept busy meanwhile, on average."""


NO_AUGMENTATION = {"augment.random_crop": False, "augment.mirror": False, "augment.colour_noise": 0.0}


def augmentation(scale: Scale, store: Store | None, device: torch.device) -> dict[str, Callable[[], int]]:
    """Training steps fed by the loader with crops, mirroring and colour noise, and without. Needs the images."""
    assert store is not None
    base = fit_to_store(scale.bases["images"], store)
    plain = changed(base, tuple(NO_AUGMENTATION.items()))
    return {
        "with crops, mirroring and colour noise": _fed(base, store, device),
        "centre crops as they are": _fed(plain, store, device),
    }


def _fed(config: TrainConfig, store: Store, device: torch.device) -> Callable[[], int]:
    """A function that trains `STEPS` steps on batches of the loader and returns the number of images."""
    setup = Setup.of(config, store, device)
    state = start(config, device, Ranks())
    step = choose_step(state, setup, Ranks())
    steps = min(STEPS, setup.steps_per_epoch)

    def work() -> int:
        batches = epoch_batches(setup, store, Ranks(), 0)
        for _ in range(steps):
            metrics = step(state, next(batches), setup)
        batches.close()  # type: ignore[attr-defined]
        _ = metrics.loss  # waits for the device
        return steps * config.batch_size

    return work


def speed(scale: Scale, store: Store | None, device: torch.device) -> dict[str, Callable[[], int]]:
    """Training steps of the paper's network on one repeated batch. Needs no images."""
    del store
    dtype, batch = choose_dtype("auto", device), scale.speed_batch
    step = repeated(step_of(new_state(scale.speed_network, device), dtype), scale.speed_network, batch, dtype, device)

    def work() -> int:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return batch

    return {"training": work}


TIMINGS: dict[str, Callable[[Scale, Store | None, torch.device], dict[str, Callable[[], int]]]] = {
    "augmentation": augmentation,
    "speed": speed,
}
NEEDS_IMAGES = {"augmentation"}


def measure(name: str, scale: Scale, store: Store | None, device_name: str) -> Timing:
    """Measure the time `name`."""
    kernels.reuse_memory()
    device = choose_device(device_name)
    forms = TIMINGS[name](scale, store, device)
    for work in forms.values():
        work()  # builds, allocates
    before, seconds = processor.use(), {form: list[float]() for form in forms}
    for _ in range(scale.timing_rounds):
        for form, work in forms.items():
            began = time.perf_counter()
            images = work()
            seconds[form].append((time.perf_counter() - began) / images)
    after = processor.use()
    return {
        "name": name,
        "scale": scale.name,
        "seconds_per_image": seconds,
        "machine": cast(Machine, machine(device)),
        "device": str(device),
        "dtype": str(choose_dtype("auto", device)).removeprefix("torch."),
        "date": datetime.date.today().isoformat(),
        "others": processor.cores_of_others(before, after) if before and after else 0.0,
    }


def path_of(results: Path, name: str) -> Path:
    """The file of a time."""
    return results / "timings" / f"{name}.json"


def read(results: Path, scale: Scale) -> dict[str, Timing]:
    """The times that have been measured at this scale. ValueError, naming the file, for a damaged one."""
    found: dict[str, Timing] = {}
    for name in TIMINGS:
        path = path_of(results, name)
        try:
            timing = read_json(path, Timing)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): delete it to measure again.") from None
        rounds = list(timing["seconds_per_image"].values())
        if timing["scale"] != scale.name:
            continue
        if not rounds or not all(each and min(each) > 0 and sum(each) < math.inf for each in rounds):
            raise ValueError(f"{path} is damaged (it has no times): delete it to measure again.")
        found[name] = timing
    return found


def write(results: Path, timing: Timing) -> None:
    """Keep a time."""
    path = path_of(results, timing["name"])
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.write_json(path, timing)
