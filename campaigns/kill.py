"""Kill a training again and again (SIGKILL), and compare its outcome with that of an undisturbed one.

    python -m campaigns.kill --kills 24 --seed 0

Draws a small image set and trains on it once without interruption. Then trains again in processes that are killed:
every other one at a random moment of its life (start, steps, evaluation, end), the rest within 20 milliseconds after a
checkpoint begins to be written. The same command starts each again. A training that completes is compared with the
undisturbed one (weights, velocities, state, metrics: byte for byte), and another begins in a new folder until all
kills are used. Exits with 0 when every comparison holds; `--json` prints one object.

The bytes are the same only on the same machine with the same number of threads.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from campaigns.machine import describe_machine
from campaigns.small_training import NETWORK, SCHEDULE, checkpoints, differences, make_store, outcome

PARTIAL = (".partial", ".replaced", ".deleted")
"""Endings of names of what is being written or removed."""
NEW = ".new-"  # start of such names
MOST_MISSES = 20  # trainings in a row that complete before they can be killed
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Command:
    """`alexnet train` as each process of the campaign runs it."""

    store: Path
    options: list[str]
    threads: int
    log: Path
    """Receives what the processes print."""

    def start(self, run: Path) -> BaseProcess:
        words = ["train", str(self.store), str(run), *self.options]
        process = CONTEXT.Process(target=run_command, args=(words, self.threads, self.log))
        process.start()
        return process

    def finish(self, run: Path) -> float:
        """Train until the end. Returns the seconds it took."""
        since = time.monotonic()
        process = self.start(run)
        process.join()
        self.expect(run, process, 0)
        return time.monotonic() - since

    def expect(self, run: Path, process: BaseProcess, code: int) -> None:
        """Raises RuntimeError where the process ended with another code."""
        if process.exitcode != code:
            raise RuntimeError(f"{run} ended with {process.exitcode}:\n{self.log.read_text()[-2000:]}")


def run_command(words: list[str], threads: int, log: Path) -> None:
    """What a process does: the command line `words` on some `threads`, with its output in `log`."""
    import torch

    from alexnet.cli import main

    torch.set_num_threads(threads)
    stream = log.open("a", encoding="utf-8")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.exit(main(words))


def kill_once(command: Command, run: Path, rng: random.Random, at_write: bool, longest: float) -> dict[str, Any] | None:
    """Start the training and kill it while it writes a checkpoint, or at a random moment up to `longest` seconds.

    Returns what the kill left behind; None where the training completed first.
    """
    process, since, writing = command.start(run), time.monotonic(), False
    if at_write:
        writing = await_write(process, run, rng.randint(1, 3))
        time.sleep(rng.uniform(0, 0.02))
    else:
        process.join(rng.uniform(0, longest))
    process.kill()
    process.join()
    if process.exitcode == 0:
        return None
    command.expect(run, process, -9)
    names = [path.name for path in run.rglob("*")] if run.exists() else []
    return {
        "seconds": round(time.monotonic() - since, 3),
        "during_write": writing,
        "partial_files": [name for name in names if name.endswith(PARTIAL) or name.startswith(NEW)],
        "last_step": max((int(path.name.removeprefix("step-")) for path in checkpoints(run)), default=0),
    }


def await_write(process: BaseProcess, run: Path, nth: int) -> bool:
    """Wait until the `nth` checkpoint from now begins to be written; False if the process ends before."""
    folder, before = run / "checkpoints", False
    while process.is_alive():
        now = folder.is_dir() and any(name.endswith(".partial") for name in os.listdir(folder))
        if now and not before:
            nth -= 1
            if nth <= 0:
                return True
        before = now
        time.sleep(0.0005)
    return False


def campaign(kills: int, seed: int, threads: int, folder: Path, epochs: int, every_steps: int) -> dict[str, Any]:
    """All of it, in `folder`: the result in numbers, `equal` where every comparison held."""
    rng, began = random.Random(seed), time.monotonic()
    options = f"{NETWORK} {SCHEDULE} --epochs {epochs} --checkpoint.every-steps {every_steps}".split()
    command = Command(make_store(folder, seed), options, threads, folder / "log.txt")
    CONTEXT.set_forkserver_preload(["alexnet.training.loop", "torch.utils.tensorboard", "alexnet.cli"])
    dataclasses.replace(command, options=[*options, "--epochs", "1"]).finish(folder / "warm")  # compiles the kernels
    undisturbed = command.finish(folder / "undisturbed")
    expected = outcome(folder / "undisturbed")
    record: list[dict[str, Any]] = []
    trainings = equal = misses = 0
    while len(record) < kills or trainings == 0:
        run = folder / f"killed-{trainings}"
        while len(record) < kills:
            killed = kill_once(command, run, rng, at_write=len(record) % 2 == 1, longest=0.6 * undisturbed)
            misses = misses + 1 if killed is None else 0
            if misses >= MOST_MISSES:
                raise RuntimeError("Every training completes before it can be killed.")
            if killed is None:
                break
            record.append(killed)
        command.finish(run)
        different = differences(expected, outcome(run))
        verdict = f"DIFFERENT: {different}" if different else "equal"
        print(f"{run.name}: {verdict}, {len(record)} kills so far", file=sys.stderr, flush=True)
        equal += not different
        trainings += 1
    return {
        "kills": len(record),
        "seed": seed,
        "threads": threads,
        "trainings": trainings,
        "equal_trainings": equal,
        "equal": equal == trainings,
        "bytes_compared": sum(map(len, expected.values())),
        "kills_that_left_partial_files": sum(bool(kill["partial_files"]) for kill in record),
        "kills_before_the_first_checkpoint": sum(kill["last_step"] == 0 for kill in record),
        "undisturbed_seconds": round(undisturbed, 2),
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe_machine(),
        "record": record,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch in each training")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--every-steps", type=int, default=3, help="steps between checkpoints")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-campaign-") as folder:
        found = campaign(args.kills, args.seed, args.threads, Path(folder), args.epochs, args.every_steps)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if name != "record":
                print(f"{name.replace('_', ' '):>38}  {value}")
    return 0 if found["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
