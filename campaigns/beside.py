"""How fast a network is beside another program that keeps one core busy.

    python -m campaigns.beside --rounds 5

Measures `alexnet bench`, float32: inference of one image at a time, and training with batches of 32. Each alone, and
beside an endless loop that is bound to the first core; and with OpenMP as PyTorch loads it (`GOMP_SPINCOUNT=300000`,
libgomp's own), and as the commands set it. Two cores are used (`--cores`), by all of them. Exits with 0 where a command
beside the loop keeps half of what it has alone; `--json` prints one object.

The machine must be free: with anything else at work, neither number means what it says.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from campaigns.machine import describe_machine

LOOP = "while True: pass"
FORMS = {"one image": "infer --batch-size 1", "training": "train --batch-size 32"}
SETTINGS = {"the commands": {}, "as PyTorch comes": {"GOMP_SPINCOUNT": "300000"}}
KEPT = 0.5


def images_per_second(form: str, settings: dict[str, str], cores: set[int], busy: bool, rounds: int) -> float:
    """The median of a form of `alexnet bench`; beside a busy core."""
    unset = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | settings
    words = [sys.executable, "-m", "alexnet", "bench", *form.split(), "--dtype", "float32", "--rounds", str(rounds)]
    loop = None
    if busy:
        bound = f"import os\nos.sched_setaffinity(0, {{{min(cores)}}})\n{LOOP}"
        loop = subprocess.Popen([sys.executable, "-c", bound])
    try:
        os.sched_setaffinity(0, cores)
        done = subprocess.run([*words, "--json"], env=environment, capture_output=True, text=True, check=True)
    finally:
        if loop is not None:
            loop.kill()
            loop.wait()
    return json.loads(done.stdout)["images_per_second"]


def campaign(cores: set[int], rounds: int, forms: list[str], settings: list[str]) -> dict[str, Any]:
    """All of it: the result in numbers, `kept` where the commands keep enough."""
    found = []
    for name in settings:
        for form in forms:
            alone, beside = (
                images_per_second(FORMS[form], SETTINGS[name], cores, busy, rounds) for busy in (False, True)
            )
            row = {"settings": name, "form": form, "alone": round(alone, 1), "beside": round(beside, 1)}
            print(row, file=sys.stderr, flush=True)
            found.append(row | {"kept": round(beside / alone, 3)})
    return {
        "rates": found,
        "kept": all(each["kept"] >= KEPT for each in found if each["settings"] == "the commands"),
        "cores": sorted(cores),
        "machine": describe_machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument(
        "--forms", nargs="+", choices=list(FORMS), default=list(FORMS), metavar="FORM", help="; ".join(FORMS)
    )
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="SETTINGS",
                        help="; ".join(SETTINGS))  # fmt: skip
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = campaign(set(args.cores), args.rounds, args.forms, args.settings)
    print(json.dumps(found) if args.json else found)
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
