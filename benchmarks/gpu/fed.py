"""Training that a store feeds: the loader alone, and Imagenette from the first step to its error.

python -m benchmarks.gpu.fed STORE FOLDER OUT.json
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from alexnet.data import augment, loader
from alexnet.data.store.reader import Store
from alexnet.recipes import RECIPES
from alexnet.training import checkpoint
from alexnet.training.choose_step import choose_step
from alexnet.training.loop import train
from alexnet.training.ranks import Ranks

SECONDS = 1.5
"""How long each number of threads is measured."""


def main() -> None:
    store, folder, out = (Path(name) for name in sys.argv[1:])
    results: dict[str, Any] = {"loader": [], "imagenette": {}}
    for threads in (1, 4, 8, 16):
        results["loader"].append({"threads": threads, "images_per_second": loading(store, threads)})
        print(results["loader"][-1], flush=True)
        out.write_text(json.dumps(results, indent=1))
    results["continuation"] = continuation(store, folder)
    print(results["continuation"], flush=True)
    results["imagenette"] = imagenette(store, folder)
    out.write_text(json.dumps(results, indent=1))
    print(results["imagenette"], flush=True)


def loading(path: Path, threads: int, batch: int = 128) -> float:
    """Crops per second of 224 pixels, read, checked and decoded into pinned memory."""
    store = Store(path)
    split, config = store.split("train"), RECIPES["paper"]()
    count, began, epoch = 0, 0.0, 0
    while True:
        draws = augment.draw_epoch(config.augment, len(split), store.size, 224, 0, epoch)
        for made in loader.training_batches(split, draws, batch, 224, workers=threads, pin=True):
            began = began or time.perf_counter()  # the first batch opens the shards
            count += len(made.crops)
            if (taken := time.perf_counter() - began) > SECONDS:
                return (count - batch) / taken
        epoch += 1


def continuation(store: Path, folder: Path) -> dict[str, Any]:
    """Whether an epoch that was stopped and resumed ends with the same bytes as one that was not, and as another."""
    recipe = RECIPES["small"]()
    config = dataclasses.replace(recipe, epochs=1, device="cuda", dtype="bfloat16")

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
    """Recipe `small` at full width: seconds of training, top-1 and top-5 error with ten views."""
    run = folder / "imagenette"
    recipe = "--recipe", "small", "--epochs", "40", "--dtype", "bfloat16", "--device", "cuda", "--json"
    trained = alexnet("train", store, run, *recipe)
    evaluated = alexnet("evaluate", run, "--data", store, "--views", "10", "--json")
    return {"train": trained, "evaluate": evaluated}


def alexnet(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "alexnet", *(str(each) for each in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr[-1500:] + done.stdout[-500:]}
    return json.loads(done.stdout) | {"stderr": done.stderr[-500:]}


if __name__ == "__main__":
    main()
