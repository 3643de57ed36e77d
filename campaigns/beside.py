"""How fast a network is beside another program that keeps one core busy.

    python -m campaigns.beside --rounds 5

Measures `alexnet bench`, float32: inference of one image at a time, and training with batches of 32. Each alone, and
beside an endless loop that is bound to the first core; and with OpenMP as PyTorch loads it (`GOMP_SPINCOUNT=300000`,
libgomp's own), and as the commands set it. All of them use the same two cores (`--cores`). Exits with 0 where a command
beside the loop keeps half of what it has alone, and the machine was free otherwise; `--json` prints one object.
"""

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
from typing import Any

from campaigns.machine import describe_machine

LOOP = "while True: pass"
FORMS = {"one image": "infer --batch-size 1", "training": "train --batch-size 32"}
SETTINGS = {"the commands": {}, "as PyTorch comes": {"GOMP_SPINCOUNT": "300000"}}
KEPT, MOST_OTHERS = 0.5, 0.1
"""Of the images per second; cores that others may keep busy while a command is alone."""


def measured(form: str, settings: dict[str, str], cores: set[int], busy: bool, options: list[str]) -> dict[str, Any]:
    """What a form of `alexnet bench` answers; beside a busy core."""
    unset = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in unset} | settings
    words = [sys.executable, "-m", "alexnet", "bench", *form.split(), "--dtype", "float32", *options, "--json"]
    bound = f"import os\nos.sched_setaffinity(0, {{{min(cores)}}})\n{LOOP}"
    with contextlib.ExitStack() as ended:
        if busy:
            loop = ended.enter_context(subprocess.Popen([sys.executable, "-c", bound]))
            ended.callback(loop.kill)
        bind = functools.partial(os.sched_setaffinity, 0, cores)
        done = subprocess.run(words, env=environment, preexec_fn=bind, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def campaign(cores: set[int], forms: list[str], settings: list[str], options: list[str]) -> dict[str, Any]:
    """All of it: the result in numbers. `kept`: whether the commands keep enough; `disturbed`: whether anything else
    was at work while a command was alone."""
    rows = []
    for name in settings:
        for form in forms:
            found = {busy: measured(FORMS[form], SETTINGS[name], cores, busy, options) for busy in (False, True)}
            alone, beside = (found[busy]["images_per_second"] for busy in (False, True))
            row = {"settings": name, "form": form, "alone": round(alone, 1), "beside": round(beside, 1)}
            row |= {"kept": round(beside / alone, 3), "others": round(found[False].get("cores_of_others") or 0.0, 2)}
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
    return {
        "rates": rows,
        "kept": all(each["kept"] >= KEPT for each in rows if each["settings"] == "the commands"),
        "disturbed": any(each["others"] > MOST_OTHERS for each in rows),
        "cores": sorted(cores),
        "machine": describe_machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS), metavar="FORM")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="SETTINGS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = campaign(set(args.cores), args.forms, args.settings, ["--rounds", str(args.rounds)])
    print(json.dumps(found) if args.json else found)
    return 0 if found["kept"] and not found["disturbed"] else 1


if __name__ == "__main__":
    sys.exit(main())
