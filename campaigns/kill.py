"""Kill a training with `kill -9` again and again, and compare what comes out with a training left in peace.

    python -m campaigns.kill --kills 24 --seed 0

Draws a small image set, trains on it once without interruption, and then again in processes that get SIGKILL:
every other time at a random moment of their lives (start, steps, evaluation, end), else within the milliseconds in
which a checkpoint is being written. Each is started again by the same command until the training is done. Weights,
velocities, state and metrics must then be the same files, byte for byte. A training that is done begins anew in another
folder until the kills are used up. Exit code 0 when every comparison holds; --json prints one object.

Same machine, same number of threads: that is what bit for bit needs.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

NETWORK = "--network.input-size 51 --network.width 0.125 --batch-size 8 --dtype float32 --device cpu --workers 1"
SCHEDULE = "--recipe small --schedule.kind plateau --schedule.patience 1 --seed 5"
LEFT_BEHIND = (".partial", ".replaced", ".deleted")
MOST_LIVES = 20  # without a kill that many times in a row, something is wrong
CONTEXT = multiprocessing.get_context("forkserver")


def live(words: list[str], threads: int, log: Path) -> None:
    """One process of `alexnet train`, with its output in `log`."""
    import torch

    from alexnet.cli import main

    torch.set_num_threads(threads)
    stream = log.open("a", encoding="utf-8")
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.exit(main(words))


def result(run: Path) -> dict[str, bytes]:
    """What must not depend on how often the training was killed."""
    last = max((run / "checkpoints").glob("step-????????"))
    files = [last / name for name in ("weights.safetensors", "velocity.safetensors", "state.json")]
    return {f"{last.name}/{file.name}": file.read_bytes() for file in files} | {
        "metrics.jsonl": (run / "metrics.jsonl").read_bytes()
    }


def await_writing(process: BaseProcess, run: Path, nth: int) -> bool:
    """Wait until the `nth` checkpoint from now on is being written; False if the process ends before."""
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


def campaign(kills: int, seed: int, threads: int, folder: Path, epochs: int, every_steps: int) -> dict:
    """Run it all below `folder`; the result in numbers, `equal` saying whether all comparisons held."""
    from alexnet.data.prepare.prepare import prepare
    from alexnet.demo.synthetic import draw_set

    rng, began, log = random.Random(seed), time.monotonic(), folder / "log.txt"
    draw_set(folder / "images", train=96, val=24, seed=seed, workers=1)
    prepare(folder / "images", folder / "store", size=56, workers=1)
    options = f"{NETWORK} {SCHEDULE} --epochs {epochs} --checkpoint.every-steps {every_steps}".split()
    CONTEXT.set_forkserver_preload(["alexnet.training.loop", "torch.utils.tensorboard", "alexnet.cli"])

    def start(run: Path) -> BaseProcess:
        process = CONTEXT.Process(
            target=live, args=(["train", str(folder / "store"), str(run), *options], threads, log)
        )
        process.start()
        return process

    def finish(run: Path) -> float:
        since = time.monotonic()
        process = start(run)
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"{run} ended with {process.exitcode}:\n{log.read_text()[-2000:]}")
        return time.monotonic() - since

    finish(folder / "warm")  # compiles the kernels
    duration = finish(folder / "peace")
    expected = result(folder / "peace")
    record, equal, runs, idle = [], 0, 0, 0
    while len(record) < kills or runs == 0:
        run = folder / f"killed-{runs}"
        while len(record) < kills and idle < MOST_LIVES:
            process, since = start(run), time.monotonic()
            if len(record) % 2:
                writing = await_writing(process, run, rng.randint(1, 3))
                time.sleep(rng.uniform(0, 0.02))
            else:
                writing = False
                process.join(rng.uniform(0, 0.6 * duration))
            process.kill()
            process.join()
            if process.exitcode == 0:  # done before it could be killed
                idle += 1
                break
            if process.exitcode != -9:
                raise RuntimeError(f"{run} ended with {process.exitcode}:\n{log.read_text()[-2000:]}")
            idle = 0
            names = [path.name for path in run.rglob("*")] if run.exists() else []
            halves = [name for name in names if name.endswith(LEFT_BEHIND) or name.startswith(".new-")]
            steps = sorted(name for name in names if name.startswith("step-") and name[5:].isdigit())
            record.append(
                {
                    "seconds": round(time.monotonic() - since, 3),
                    "aimed_at_writing": writing,
                    "left_half_done": halves,
                    "last_step": int(steps[-1][5:]) if steps else 0,
                }
            )
        if idle >= MOST_LIVES:
            raise RuntimeError("every training ends before it can be killed")
        finish(run)
        found = result(run)
        different = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
        print(f"{run.name}: " + (f"DIFFERENT: {different}" if different else "equal"), file=sys.stderr, flush=True)
        equal += not different
        runs += 1
    return {
        "kills": len(record),
        "seed": seed,
        "threads": threads,
        "trainings": runs,
        "equal_trainings": equal,
        "equal": equal == runs,
        "bytes_compared": sum(map(len, expected.values())),
        "kills_that_left_something_half_done": sum(bool(kill["left_half_done"]) for kill in record),
        "kills_before_the_first_checkpoint": sum(kill["last_step"] == 0 for kill in record),
        "seconds_of_a_training_in_peace": round(duration, 2),
        "seconds": round(time.monotonic() - began, 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
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
