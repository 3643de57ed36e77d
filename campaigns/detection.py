"""How long it takes until a fault is noticed.

    python -m campaigns.detection

Draws a small image set, trains narrow networks on it, makes one fault after the other, and measures the seconds from
the fault to the end of the process that notices it. Where the fault is there before the process, they count from its
start; `one_epoch_seconds` is what a process without a fault takes. For a diverging or an untrained network the step is
given too. `slow_disk.py` measures faults of a disk during training. Exits with 0 when each fault was noticed;
`--json` prints one object.
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
from typing import Any

from campaigns.small_training import NETWORK, checkpoints, make_store

TRAIN = f"{NETWORK} --recipe small --epochs 40".split()
SHARD = "train-00000.arrow"


class NotTriedError(Exception):
    """A fault that cannot be made here; its text is the reason."""


Noticed = tuple[float, str]
"""Seconds, and what was printed on standard error."""


def command(*words: object, ranks: int = 0) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks else []
    return [sys.executable, *torchrun, "-m", "alexnet", *map(str, words)]


def alexnet(*words: object, code: int = 1) -> Noticed:
    """Run a command, which must end with `code`."""
    began = time.monotonic()
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=300)
    if done.returncode != code:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")
    return time.monotonic() - began, done.stderr


def flip_middle_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def damaged_store(folder: Path, damage: Callable[[Path], object]) -> Path:
    """A copy of the store with its first shard damaged."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "store", copy)
    damage(copy / SHARD)
    return copy


def loss_not_a_number(folder: Path) -> Noticed:
    return alexnet("train", folder / "store", folder / "nan", *TRAIN, "--optim.lr", 1e6)


def network_at_chance(folder: Path) -> Noticed:
    return alexnet("train", folder / "store", folder / "chance", *TRAIN, "--optim.lr", 1e-12, code=0)


def rank_killed(folder: Path) -> Noticed:
    run = folder / "ranks"
    words = ["train", folder / "store", run, *TRAIN, "--parallel", "data", "--epochs", 400]
    with open(folder / "log", "w+", encoding="utf-8") as log:
        torchrun = subprocess.Popen(command(*words, ranks=2), stdout=log, stderr=log, start_new_session=True)
        try:
            while not checkpoints(run):
                time.sleep(0.05)
                assert torchrun.poll() is None, "it ended before a rank could be killed"
            children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()
            began = time.monotonic()
            os.kill(int(children[-1]), signal.SIGKILL)
            torchrun.wait(120)
            seconds = time.monotonic() - began
        finally:
            if torchrun.poll() is None:
                os.killpg(torchrun.pid, signal.SIGKILL)
        log.seek(0)
        text = log.read()
    assert torchrun.returncode, "the other rank kept training"
    return seconds, text


def two_ranks(*words: object) -> Noticed:
    """Train with two ranks, which must both end. $RANK in `words` is the number of each."""
    line = " ".join(map(str, ["exec", sys.executable, "-m", "alexnet", "train", *words, *TRAIN, "--parallel", "data"]))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    began = time.monotonic()
    done = subprocess.run([*torchrun, "bash", "-c", line], capture_output=True, text=True, timeout=300)
    if not done.returncode:
        raise RuntimeError("the ranks trained together")
    return time.monotonic() - began, done.stderr


def rank_differs(folder: Path) -> Noticed:
    return two_ranks(folder / "store", folder / "differ", "--optim.lr", "0.00$((RANK+1))")


def rank_fails_before_joining(folder: Path) -> Noticed:
    (folder / "store0").symlink_to(folder / "store")  # and there is no store1
    return two_ranks(folder / "store$RANK", folder / "fails")


def full_disk(folder: Path) -> Noticed:
    """A disk with room for the beginning of a checkpoint."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise NotTriedError("only root can mount a small disk")
    try:
        return alexnet("train", folder / "store", disk / "run", *TRAIN)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def changed_source(folder: Path) -> Noticed:
    images = folder / "changing"
    shutil.copytree(folder / "images", images)
    alexnet("prepare", images, folder / "prepared", "--size", 56, code=0)
    next(images.rglob("*.jpg")).unlink()
    return alexnet("prepare", images, folder / "prepared", "--size", 56)


def flipped_byte_in_training(folder: Path) -> Noticed:
    return alexnet("train", damaged_store(folder, flip_middle_byte), folder / "flipped", *TRAIN)


def flipped_byte_in_verify(folder: Path) -> Noticed:
    return alexnet("verify", damaged_store(folder, flip_middle_byte))


def missing_shard(folder: Path) -> Noticed:
    return alexnet("train", damaged_store(folder, Path.unlink), folder / "missing", *TRAIN)


def damaged_checkpoint(folder: Path) -> Noticed:
    run = folder / "damaged"
    alexnet("train", folder / "store", run, *TRAIN, "--epochs", 1, code=0)
    (checkpoint,) = checkpoints(run)
    flip_middle_byte(checkpoint / "weights.safetensors")
    return alexnet("predict", run, next((folder / "images").rglob("*.jpg")))


FAULTS: dict[str, tuple[Callable[[Path], Noticed], str]] = {
    "loss not a number": (loss_not_a_number, r"The loss is not a number at step (\d+)"),
    "network at chance": (network_at_chance, r"\((\d+) steps\) the loss is"),
    "rank killed": (rank_killed, "Signal 9|exitcode *: -9"),
    "rank with another setting": (rank_differs, r"Rank 1 on .* has optim.lr 0.002, and rank 0 on .* has 0.001"),
    "rank without its store": (rank_fails_before_joining, r"Rank 1 on .*store1"),
    "full disk": (full_disk, "No space is left for .*disk/run"),
    "changed source": (changed_source, "has changed|119 images"),
    "flipped byte, training": (flipped_byte_in_training, rf"{SHARD}, row \d+, .*checksum"),
    "flipped byte, verify": (flipped_byte_in_verify, f"{SHARD} .*checksum"),
    "missing shard": (missing_shard, f"{SHARD} is missing"),
    "damaged checkpoint": (damaged_checkpoint, "weights.safetensors cannot be used"),
}
"""What makes and awaits each fault, and what must be said about it: a pattern, whose group is the step."""


def campaign(folder: Path, only: list[str]) -> dict[str, Any]:
    """All of it, in `folder`; `noticed` where every fault was."""
    store = make_store(folder)
    alexnet("train", store, folder / "warm", *TRAIN, "--epochs", 1, code=0)  # compiles the kernels
    one_epoch, _ = alexnet("train", store, folder / "undisturbed", *TRAIN, "--epochs", 1, code=0)
    found = []
    for fault, (make, pattern) in FAULTS.items():
        if only and fault not in only:
            continue
        try:
            seconds, text = make(folder)
        except NotTriedError as error:
            print(f"{fault}: not tried: {error}", file=sys.stderr, flush=True)
            continue
        match = re.search(pattern, text)
        step = int(match[1]) if match and match.groups() else None
        found.append({"fault": fault, "seconds": round(seconds, 2), "step": step, "noticed": match is not None})
        if match is None:
            print(f"{fault}: NOT NOTICED: {text[-1500:]}", file=sys.stderr, flush=True)
    return {
        "one_epoch_seconds": round(one_epoch, 2),
        "faults": found,
        "noticed": all(each["noticed"] for each in found),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], choices=list(FAULTS), metavar="FAULT", help="; ".join(FAULTS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="detection-") as folder:
        found = campaign(Path(folder), args.only)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"one epoch, from start to end of the process: {found['one_epoch_seconds']} s")
        for each in found["faults"]:
            step = "" if each["step"] is None else f"  step {each['step']}"
            print(f"{each['fault']:>24}  {each['seconds']:6.2f} s{step}")
    return 0 if found["noticed"] else 1


if __name__ == "__main__":
    sys.exit(main())
