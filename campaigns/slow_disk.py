"""Train from a disk that is slow, fails, returns changed bytes or disappears.

    python -m campaigns.slow_disk

Draws a small image set and trains on it from an ordinary folder. Then repeats the training on the same store seen
through a FUSE file system (`faulty_disk.py`), and makes one fault after the first checkpoint: late reads, no answer for
a while, errors, empty reads, changed bytes, the file system's server killed, the file system unmounted.

- After a delay the training must end with the same weights, velocities, state and metrics, byte for byte.
- After an error it must exit with 1 and one sentence that names the file; the same command on the repaired disk must
  then end with the same bytes.

Seconds are those from the fault to the end of the process. Exits with 0 when all of it held, with 2 and the reason
without root or /dev/fuse; `--json` prints one object.
"""

import argparse
import errno
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from campaigns.faulty_disk import FaultyDisk, unmount, why_unavailable
from campaigns.small_training import NETWORK, SCHEDULE, checkpoints, make_store, outcome

DELAYS = {"every read 20 ms late": "slow 0.02", "no answer for 3 s": "hang 3"}
ERRORS = {
    "input/output error": f"fail {errno.EIO}",
    "stale file handle": f"fail {errno.ESTALE}",
    "empty reads": "empty",
    "changed bytes": "flip",
    "server killed": "kill",
    "unmounted": "unmount",
}
FAULTS = DELAYS | ERRORS
"""Name of each fault, and the order to the disk that makes it."""
SECONDS = 300  # that a training may take


def start(store: Path, run: Path, epochs: int) -> subprocess.Popen[str]:
    options = f"{NETWORK} {SCHEDULE} --epochs {epochs} --checkpoint.every-steps 5".split()
    command = [sys.executable, "-m", "alexnet", "train", str(store), str(run), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=SECONDS)
    if process.returncode:
        raise RuntimeError(f"The training ended with {process.returncode}: {errors}")


def await_checkpoint(process: subprocess.Popen[str], run: Path) -> None:
    """Wait for the first checkpoint: most epochs are still to come."""
    while process.poll() is None and not checkpoints(run):
        time.sleep(0.005)


def make_fault(disk: FaultyDisk, order: str) -> None:
    if order == "kill":
        disk.kill()
    elif order == "unmount":
        unmount(disk.mount_point)
    else:
        disk.order(order)


def train_with_fault(fault: str, folder: Path, epochs: int, expected: dict[str, bytes]) -> dict[str, Any]:
    """One training during which the disk fails; `held` says whether it ended as it must."""
    store, run, mount_point = folder / "store", folder / fault.replace("/", " "), folder / "mount"
    with FaultyDisk(store, mount_point) as disk:
        process = start(mount_point, run, epochs)
        await_checkpoint(process, run)
        before = time.monotonic()
        make_fault(disk, FAULTS[fault])
        _, errors = process.communicate(timeout=SECONDS)
        seconds = time.monotonic() - before
    last_line = errors.strip().splitlines()[-1] if process.returncode else ""
    found = {"fault": fault, "exit_code": process.returncode, "seconds": round(seconds, 2), "message": last_line}
    if fault in DELAYS or process.returncode == 0:  # 0 if all that it still needed was open when the disk went
        return found | {"held": process.returncode == 0 and outcome(run) == expected}
    named = process.returncode == 1 and last_line.startswith("alexnet train: ") and str(mount_point) in last_line
    with FaultyDisk(store, mount_point):
        finish(start(mount_point, run, epochs))
    return found | {"held": named and "Traceback" not in errors and outcome(run) == expected}


def campaign(folder: Path, epochs: int, only: list[str]) -> dict[str, Any]:
    """All of it, in `folder`; `held` where everything did."""
    finish(start(make_store(folder), folder / "undisturbed", epochs))
    expected, found = outcome(folder / "undisturbed"), []
    for fault in FAULTS:
        if only and fault not in only:
            continue
        found.append(train_with_fault(fault, folder, epochs, expected))
        verdict = "held" if found[-1]["held"] else f"DID NOT HOLD: {found[-1]}"
        print(f"{fault}: {verdict}", file=sys.stderr, flush=True)
    return {"faults": found, "held": all(each["held"] for each in found), "epochs": epochs}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[], choices=list(FAULTS), metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if reason := why_unavailable():
        print(f"This needs a FUSE file system, and {reason}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="slow-disk-") as folder:
        found = campaign(Path(folder), args.epochs, args.only)
    if args.json:
        print(json.dumps(found))
    else:
        for each in found["faults"]:
            print(f"{each['fault']:>22}  exit {each['exit_code']} after {each['seconds']:.2f} s  {each['message']}")
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
