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

from campaigns.faulty_disk import Mounted, unmount, why_not
from campaigns.kill import NETWORK, SCHEDULE, result

WAITS = {"every read 20 ms late": "slow 0.02", "no answer for 3 s": "hang 3"}  # what is waited for
ERRORS = {
    "input/output error": f"fail {errno.EIO}",
    "stale file handle": f"fail {errno.ESTALE}",
    "files cut off": "short",
    "changed bytes": "flip",
    "server gone": "vanish",
    "unmounted": "unmount",
}


def start(store: Path, run: Path, epochs: int) -> subprocess.Popen[str]:
    options = f"{NETWORK} {SCHEDULE} --epochs {epochs} --checkpoint.every-steps 5".split()
    command = [sys.executable, "-m", "alexnet", "train", str(store), str(run), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"the training ended with {process.returncode}: {said}")
    return said


def await_step(process: subprocess.Popen[str], run: Path) -> None:
    """Until the first checkpoint is there, so that some epochs are still to come."""
    while process.poll() is None and not any((run / "checkpoints").glob("step-????????")):
        time.sleep(0.005)


def faulty(what: str, order: str, folder: Path, epochs: int, expected: dict[str, bytes]) -> dict:
    """One training under one fault; `held` says whether what must come out did."""
    run, place = folder / what.replace("/", " "), folder / "mount"
    with Mounted(folder / "store", place) as disk:
        process = start(place, run, epochs)
        await_step(process, run)
        before = time.monotonic()
        if order == "vanish":
            disk.vanish()
        elif order == "unmount":
            unmount(place)
        else:
            disk.tell(order)
        _, said = process.communicate(timeout=300)
        seconds = time.monotonic() - before
        last = said.strip().splitlines()[-1] if process.returncode else ""
    found = {"fault": what, "exit_code": process.returncode, "seconds": round(seconds, 2), "said": last}
    if what in WAITS or process.returncode == 0:  # what was open when it was unmounted may be all that was needed
        return found | {"held": process.returncode == 0 and result(run) == expected}
    sentence = process.returncode == 1 and last.startswith("alexnet train: ") and str(place) in last
    with Mounted(folder / "store", place):
        finish(start(place, run, epochs))
    return found | {"held": sentence and "Traceback" not in said and result(run) == expected}


def campaign(folder: Path, epochs: int, only: list[str]) -> dict:
    from alexnet.data.prepare.prepare import prepare
    from alexnet.demo.synthetic import draw_set

    draw_set(folder / "images", train=96, val=24, seed=0, workers=1)
    prepare(folder / "images", folder / "store", size=56, workers=1)
    finish(start(folder / "store", folder / "peace", epochs))
    expected = result(folder / "peace")
    faults = {what: order for what, order in (WAITS | ERRORS).items() if not only or what in only}
    found = []
    for what, order in faults.items():
        found.append(faulty(what, order, folder, epochs, expected))
        print(
            f"{what}: " + ("held" if found[-1]["held"] else f"DID NOT HOLD: {found[-1]}"), file=sys.stderr, flush=True
        )
    return {"faults": found, "held": all(each["held"] for each in found), "epochs": epochs}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[], metavar="FAULT", help=", ".join(WAITS | ERRORS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if reason := why_not():
        print(f"This needs a FUSE file system, and {reason}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="slow-disk-") as folder:
        found = campaign(Path(folder), args.epochs, args.only)
    if args.json:
        print(json.dumps(found))
    else:
        for each in found["faults"]:
            print(f"{each['fault']:>22}  exit {each['exit_code']} after {each['seconds']:.2f} s  {each['said']}")
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
