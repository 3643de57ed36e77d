"""Training that a store feeds: the loader alone, a training of ImageNet's size, and Imagenette to its error.

python -m benchmarks.gpu.fed STORE FOLDER OUT.json
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alexnet.config import ScheduleConfig, TrainConfig
from alexnet.data import augment, loader
from alexnet.data.loader import TrainingBatch
from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store
from alexnet.recipes import RECIPES
from alexnet.training import checkpoint
from alexnet.training.choose_step import Step, choose_step
from alexnet.training.loop import epoch_batches, train
from alexnet.training.ranks import Ranks
from alexnet.training.state import Setup, TrainState, save, start
from alexnet.training.validation import validate
from benchmarks.loading.store_sizes import make_linked_store

DEVICE, DTYPE = "cuda", "bfloat16"
SECONDS = 1.5
"""How long each number of threads is measured; training, three times as long."""
ROWS, TESTED, CLASSES, EPOCHS = 1_281_167, 50_000, 1000, 90
"""ILSVRC-2012's training and validation images and classes, and the paper's epochs."""


def main() -> None:
    store, folder, out = (Path(name) for name in sys.argv[1:])
    linked = folder / "linked"
    make_linked_store(store, linked, ROWS)
    as_imagenet(linked / "store.json")
    sections: dict[str, Callable[[], Any]] = {
        "loader": lambda: [
            {"threads": threads, "images_per_second": loading(linked, threads)} for threads in (16, 8, 4, 2, 1)
        ],
        "fed": lambda: fed(linked, store, folder / "fed"),
        "imagenette": lambda: imagenette(store, folder),
        "continuation": lambda: continuation(store, folder),
    }
    results: dict[str, Any] = {}
    for name, section in sections.items():
        began = time.monotonic()
        try:
            results[name] = section()
        except Exception as error:  # what comes after it is measured all the same
            results[name] = {"error": repr(error)[:500]}
        out.write_text(json.dumps(results, indent=1))
        print(f"{time.monotonic() - began:.0f} s: {name} {json.dumps(results[name])[:1500]}", flush=True)


def as_imagenet(file: Path) -> None:
    """Give a store the number of classes that ImageNet has, which the last layer follows."""
    info = json.loads(file.read_text())
    more = range(len(info["classes"]), CLASSES)
    info["classes"] += [[f"none{number}", f"none {number}"] for number in more]
    file.write_text(json.dumps(seal(info)))


def fed(linked: Path, tested: Path, run: Path, batch: int = 128) -> dict[str, Any]:
    """Images per second of the training loop on a store of ImageNet's size, of the same steps without the loop (its log
    and its display), and on one batch; of an evaluation; the seconds of a checkpoint; and what these come to for the
    whole training of the paper, with an evaluation and a checkpoint each epoch."""
    schedule = ScheduleConfig(kind="epochs", drop_epochs=(80,))  # the paper's own needs a validation split
    config = dataclasses.replace(RECIPES["paper"](), device=DEVICE, dtype=DTYPE, batch_size=batch, schedule=schedule)
    store = Store(linked)
    setup = Setup.of(config, store, torch.device(DEVICE))
    state = start(config, setup.device, Ranks())
    step = choose_step(state, setup, Ranks())
    batches = epoch_batches(setup, store, Ranks(), epoch=0)
    first = next(batches)
    rates = {
        "repeated_images_per_second": rate(lambda: step(state, first, setup), batch),
        "steps_images_per_second": rate(lambda: step(state, next(batches), setup), batch),
        "images_per_second": in_the_loop(linked, run, config, batch),
    }
    split = Store(tested).split("val")
    seconds = []
    for _ in range(2):  # the first one chooses cuDNN's convolutions
        began = time.perf_counter()
        validate(state.network, split, setup, Ranks())
        seconds.append(time.perf_counter() - began)
    rates["evaluated_images_per_second"] = len(split) / seconds[-1]
    saving = []
    for _ in range(3):
        began = time.perf_counter()
        save(state, setup, run, Ranks())
        saving.append(time.perf_counter() - began)
        state.step += 1
    epoch = ROWS / rates["images_per_second"] + TESTED / rates["evaluated_images_per_second"]
    minutes = EPOCHS * (epoch + statistics.median(saving)) / 60
    return {"batch": batch, **rates, "checkpoint_seconds": statistics.median(saving), "minutes_for_90_epochs": minutes}


def rate(step: Callable[[], object], images: int, seconds: float = 3 * SECONDS) -> float:
    """Images per second of `step`, each of so many images."""
    for _ in range(20):
        step()
    synchronize()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    synchronize()
    return count * images / (time.perf_counter() - began)


class EnoughError(Exception):
    """The time of a measurement is over."""


def in_the_loop(store: Path, run: Path, config: TrainConfig, batch: int) -> float:
    """Images per second of `alexnet train`, after its first fifty steps."""
    steps: list[Step] = []
    times: list[float] = []

    def timed(state: TrainState, made: TrainingBatch, setup: Setup) -> Any:
        if not steps:
            steps.append(choose_step(state, setup, Ranks()))
        times.append(time.perf_counter())
        if len(times) > 50 and times[-1] - times[50] > 3 * SECONDS:
            raise EnoughError
        return steps[0](state, made, setup)

    with contextlib.suppress(EnoughError):
        train(store, run, config, step=timed)
    return (len(times) - 51) * batch / (times[-1] - times[50])


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def loading(path: Path, threads: int, batch: int = 128) -> float:
    """Crops per second of 224 pixels, read, checked and decoded into pinned memory."""
    store = Store(path)
    split, config = store.split("train"), RECIPES["paper"]()
    count, began, epoch = 0, 0.0, 0
    while True:
        draws = augment.draw_epoch(config.augment, len(split), store.size, 224, 0, epoch)
        for made in loader.training_batches(split, draws, batch, 224, workers=threads, pin=DEVICE == "cuda"):
            began = began or time.perf_counter()  # the first batch opens the shards
            count += len(made.crops)
            if (taken := time.perf_counter() - began) > SECONDS:
                return (count - batch) / taken
        epoch += 1


def continuation(store: Path, folder: Path) -> dict[str, Any]:
    """Whether an epoch that was stopped and resumed ends with the same bytes as one that was not, and as another. The
    fully connected layers are narrow, for the sake of small checkpoints."""
    config = RECIPES["small"]()
    network = dataclasses.replace(config.network, fc_units=512)
    config = dataclasses.replace(config, epochs=1, device=DEVICE, dtype=DTYPE, network=network)

    def stopping(at: int) -> Any:
        steps: list[Any] = []

        def step(state: Any, batch: Any, setup: Any) -> Any:
            if not steps:
                steps.append(choose_step(state, setup, Ranks()))
            if state.step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return steps[0](state, batch, setup)

        return step

    weights = []
    for name, stops in (("whole", []), ("again", []), ("resumed", [60, 100])):
        for at in [*stops, -1]:
            with contextlib.suppress(KeyboardInterrupt):
                train(store, folder / name, config, step=stopping(at))
        last = checkpoint.find(folder / name, "last")
        weights.append(hashlib.sha256((last.path / "weights.safetensors").read_bytes()).hexdigest())
    return {"same_when_repeated": weights[0] == weights[1], "same_when_resumed": weights[0] == weights[2]}


def imagenette(store: Path, folder: Path) -> dict[str, Any]:
    """Recipe `small` at full width: seconds of training, top-1 and top-5 error with ten views. Checkpoints are written
    after better evaluations alone: one of this network, 470 MB, takes several times as long as an epoch."""
    run = folder / "imagenette"
    recipe = "--recipe", "small", "--epochs", 40, "--checkpoint.every-epochs", 40, "--dtype", DTYPE, "--device", DEVICE
    trained = alexnet("train", store, run, *recipe)
    evaluated = alexnet("evaluate", run, "--data", store, "--views", 10)
    keys = {"train": ("seconds", "images_per_second", "steps"), "evaluate": ("top1_error", "top5_error", "seconds")}
    found = {"train": trained, "evaluate": evaluated}
    return {what: {key: found[what][key] for key in (*keys[what], "error") if key in found[what]} for what in keys}


def alexnet(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "alexnet", *(str(each) for each in arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr[-1500:] + done.stdout[-500:]}
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
