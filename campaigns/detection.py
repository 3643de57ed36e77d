"""How long it takes until a fault is noticed.

    python -m campaigns.detection

Draws a small image set, trains narrow networks on it, makes one fault after the other, and measures the time from the
fault to the end of the process that notices it (or to its warning). For faults in the numbers the steps count.
Exit code 0 when each was noticed as it should be; --json prints one object. The faults of a disk under a running
training are measured by `slow_disk.py`.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from campaigns.kill import NETWORK

TRAIN = f"{NETWORK} --recipe small --epochs 40".split()
Found = tuple[float, str]


def alexnet(*words: object, codes: tuple[int, ...] = (1,)) -> Found:
    """Seconds and what was said; it must end with one of `codes`."""
    began = time.monotonic()
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=300)
    if done.returncode not in codes:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")
    return time.monotonic() - began, done.stderr


def command(*words: object, ranks: int = 0) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    return [sys.executable, *torchrun, "-m", "alexnet", *map(str, words)]


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def not_a_number(folder: Path) -> Found:
    return alexnet("train", folder / "store", folder / "nan", *TRAIN, "--optim.lr", 1e6)


def chance(folder: Path) -> Found:
    return alexnet("train", folder / "store", folder / "chance", *TRAIN, "--optim.lr", 1e-12, codes=(0,))


def dead_rank(folder: Path) -> Found:
    words = ["train", folder / "store", folder / "ranks", *TRAIN, "--parallel", "data", "--epochs", 400]
    with open(folder / "said", "w+", encoding="utf-8") as said:
        both = subprocess.Popen(command(*words, ranks=2), stdout=said, stderr=said, start_new_session=True)
        try:
            while not any((folder / "ranks/checkpoints").glob("step-????????")):
                time.sleep(0.05)
                assert both.poll() is None, "it ended before a rank could be killed"
            children = Path(f"/proc/{both.pid}/task/{both.pid}/children").read_text().split()
            began = time.monotonic()
            os.kill(int(children[-1]), signal.SIGKILL)
            both.wait(120)
            seconds = time.monotonic() - began
        finally:
            if both.poll() is None:
                os.killpg(both.pid, signal.SIGKILL)
        said.seek(0)
        text = said.read()
    assert both.returncode, "the others went on"
    return seconds, text


def copied(folder: Path, damage: Callable[[Path], object]) -> Path:
    shutil.rmtree(folder / "copy", ignore_errors=True)
    shutil.copytree(folder / "store", folder / "copy")
    damage(folder / "copy")
    return folder / "copy"


def flipped(folder: Path) -> Found:
    return alexnet("train", copied(folder, lambda p: flip(p / "train-00000.arrow")), folder / "flipped", *TRAIN)


def flipped_verify(folder: Path) -> Found:
    return alexnet("verify", copied(folder, lambda p: flip(p / "train-00000.arrow")))


def missing(folder: Path) -> Found:
    path = copied(folder, lambda p: (p / "train-00000.arrow").unlink())
    return alexnet("train", path, folder / "missing", *TRAIN)


def damaged_checkpoint(folder: Path) -> Found:
    alexnet("train", folder / "store", folder / "damaged", *TRAIN, "--epochs", 1, codes=(0,))
    (weights,) = (folder / "damaged").glob("checkpoints/*/weights.safetensors")
    flip(weights)
    return alexnet("predict", folder / "damaged", next((folder / "images").rglob("*.jpg")))


FAULTS: dict[str, tuple[Callable[[Path], Found], str]] = {
    "loss not a number": (not_a_number, r"The loss is not a number at step (\d+)"),
    "network at chance": (chance, r"after (\d+) steps the loss is"),
    "a rank killed": (dead_rank, "Signal 9|exitcode: -9|exitcode  *: -9"),
    "flipped byte, training": (flipped, r"train-00000.arrow, row \d+, does not have its checksum"),
    "flipped byte, verify": (flipped_verify, "train-00000.arrow does not have the checksum"),
    "missing shard": (missing, "train-00000.arrow is missing"),
    "damaged checkpoint": (damaged_checkpoint, "weights.safetensors cannot be read"),
}


def campaign(folder: Path, only: list[str]) -> dict:
    from alexnet.data.prepare.prepare import prepare
    from alexnet.demo.synthetic import draw_set

    draw_set(folder / "images", train=96, val=24, seed=0, workers=1)
    prepare(folder / "images", folder / "store", size=56, workers=1)
    start, _ = alexnet(
        "train", folder / "store", folder / "start", *TRAIN, "--epochs", 1, codes=(0,)
    )  # kernels compiled
    start, _ = alexnet("train", folder / "store", folder / "again", *TRAIN, "--epochs", 1, codes=(0,))
    found = []
    for fault, (make, pattern) in FAULTS.items():
        if only and fault not in only:
            continue
        seconds, said = make(folder)
        match = re.search(pattern, said)
        steps = int(match[1]) if match and match.groups() else None
        found.append({"fault": fault, "seconds": round(seconds, 2), "steps": steps, "noticed": match is not None})
        if match is None:
            print(f"{fault}: NOT NOTICED: {said[-1500:]}", file=sys.stderr, flush=True)
    return {
        "seconds_of_one_epoch_from_start_to_end": round(start, 2),
        "faults": found,
        "noticed": all(each["noticed"] for each in found),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="detection-") as folder:
        found = campaign(Path(folder), args.only)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"one epoch, from start to end: {found['seconds_of_one_epoch_from_start_to_end']} s")
        for each in found["faults"]:
            steps = "" if each["steps"] is None else f"  step {each['steps']}"
            print(f"{each['fault']:>24}  {each['seconds']:6.2f} s{steps}")
    return 0 if found["noticed"] else 1


if __name__ == "__main__":
    sys.exit(main())
