"""Run each command that writes in ten processes at once, with the same arguments.

    python -m campaigns.at_once --processes 10 --seed 0

Draws a small image set, prepares and trains on it, and lets one process alone do each command. Then ten start within
`--spread` seconds, at random moments. Each must end with 0, or with 1 and one sentence, such as that another process
writes there; at least one with 0. What they leave must be what one process alone leaves, byte for byte, and nothing
half-written beside it; what they answer must be its answer. `download` asks a server of this process for a small
archive. Exits with 0 when all of it held; `--json` prints one object.
"""

import argparse
import contextlib
import functools
import http.server
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.files.checksums import checksum
from campaigns.machine import describe_machine
from campaigns.small_training import NETWORK, SCHEDULE, make_store

CONTEXT = multiprocessing.get_context("forkserver")
ARCHIVE, TOP = "archive.tgz", "data-set"
"""The archive that `download` gets, and the folder in it."""
LEFT_OVER = (".new-", ".partial")
"""In names of what is being written."""


class Task(NamedTuple):
    """A command. FOLDER in its words is where the campaign's images, store and run are, OUT a new folder, into which
    OUT/store and OUT/run are copied where they are read."""

    words: str
    answers: bool = False
    """Whether all must give the same answer; otherwise they may be refused."""
    varies: tuple[str, ...] = ()
    """Ends of names of files in which times stand."""


RUN = "FOLDER/run"
TASKS = {
    "prepare": Task("prepare FOLDER/images OUT/store --size 56 --workers 1", varies=("store.json",)),
    "train": Task(
        f"train FOLDER/store OUT/run {NETWORK} {SCHEDULE} --epochs 2", varies=("metrics.jsonl", ".json", "tfevents")
    ),
    "features, npy": Task(f"features {RUN} FOLDER/store OUT/fc7.npy --force", True, (".json",)),
    "features, npz": Task(f"features {RUN} FOLDER/store OUT/fc7.npz --force", True, (".json",)),
    "similar": Task(f"similar {RUN} FOLDER/image.jpg --data OUT/store", True),
    "predict": Task(f"predict {RUN} FOLDER/image.jpg --panel OUT/panel.png --force", True),
    "figures": Task(f"figures {RUN} --data FOLDER/store --out OUT/figures --force"),
    "export": Task(f"export {RUN} OUT/exported --to safetensors --force"),
    "features, h5": Task(f"features {RUN} FOLDER/store OUT/fc7.h5 --force", True, (".json", ".h5")),
    "compare": Task(f"compare {RUN} --data FOLDER/store --images 0 --out OUT/compared --force", varies=(".json",)),
    "import": Task("import FOLDER/exported OUT/imported", varies=(".json", "SHA256SUMS")),
    "explore": Task("explore OUT/run --data FOLDER/store --save OUT/page.html --force"),
    "download": Task("download imagenette OUT --url ADDRESS"),
    "demo": Task("demo --out OUT/demo --workers 1", varies=(".json", ".jsonl", ".html", "tfevents", "SHA256SUMS")),
    "reproduce": Task(
        "reproduce OUT/out --scale tiny --only weight-decay --device cpu --workers 1",
        varies=(".json", ".jsonl", ".html", "tfevents", "SHA256SUMS"),
    ),
}
READ_IN_OUT = {"OUT/store": "--data OUT/store", "OUT/run": "explore OUT/run"}
"""What is copied into OUT, and the words of the commands that read it there and write into it."""


def run_command(words: list[str], delay: float, log: Path) -> None:
    """What a process does: the command line `words` after a `delay`, with its output in `log` and `log.err`."""
    from alexnet.cli import main

    for number, name in ((1, log), (2, log.with_suffix(".err"))):
        with name.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), number)
    if words[0] == "download":
        know_archive(log.with_name(ARCHIVE))
    time.sleep(delay)
    sys.exit(main(words))


def make_archive(folder: Path) -> None:
    """A small archive as `alexnet download` takes it, of the first images."""
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for image in sorted((folder / "images").rglob("*.jpg"))[:20]:
            archive.add(image, f"{TOP}/{image.relative_to(folder / 'images')}")


def know_archive(file: Path) -> None:
    """Let `alexnet download imagenette` take this archive for the one that it knows."""
    from alexnet.data.download import download as module

    digest, archive = checksum(file), module.ARCHIVES["imagenette"]
    own = archive._replace(length=file.stat().st_size, sha256=digest, folder=TOP, address=f"http://none/{ARCHIVE}")
    module.download = functools.partial(module.download, archives={"imagenette": own})


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the archive, at a server of this machine."""
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{ARCHIVE}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def run_at_once(task: Task, folder: Path, out: Path, delays: list[float]) -> list[dict[str, Any]]:
    """Exit code, answer and last line of standard error of each process."""
    out.mkdir(exist_ok=True)
    for copied, words_that_read in READ_IN_OUT.items():
        if words_that_read in task.words:
            shutil.copytree(folder / copied.removeprefix("OUT/"), out / copied.removeprefix("OUT/"))
    words = [*task.words.replace("FOLDER", str(folder)).replace("OUT", str(out)).split(), "--json"]
    logs = [folder / f"{out.name}-{number}.log" for number in range(len(delays))]
    running = [
        CONTEXT.Process(target=run_command, args=(words, delay, log)) for delay, log in zip(delays, logs, strict=True)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    errors = [log.with_suffix(".err").read_text(encoding="utf-8").splitlines() for log in logs]
    return [
        {"code": process.exitcode, "answer": log.read_text(encoding="utf-8"), "error": (lines or [""])[-1]}
        for process, log, lines in zip(running, logs, errors, strict=True)
    ]


def contents(out: Path, task: Task) -> dict[str, bytes]:
    """The files below `out` that must be the same whoever writes them."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and "tfevents" not in path.name)
    return {
        str(path.relative_to(out)): path.read_bytes() for path in files if not path.name.endswith(task.varies or "/")
    }


def differences(task: Task, alone: Path, together: Path, expected: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """What is not as it must be; empty where all is."""
    refused = [each for each in found if each["code"] != 0]
    if len(refused) == len(found) or any(each["code"] != 1 or not each["error"] for each in refused):
        return f"exit codes {[each['code'] for each in found]}: {refused[0]['error']}"
    if task.answers and refused:
        return f"refused: {refused[0]['error']}"
    if any(each["error"].startswith((" ", "Traceback")) for each in refused):
        return f"no sentence: {refused[0]['error']}"
    if task.answers:
        wanted = expected["answer"].replace(alone.name, together.name)
        if any(each["answer"] != wanted for each in found):
            return "another answer"
    a, b = contents(alone, task), contents(together, task)
    if different := sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name)):
        return f"other files: {different}"
    left = [path.name for path in together.rglob("*") if any(mark in path.name for mark in LEFT_OVER)]
    return f"left over: {left}" if left else ""


def make_run(store: Path, folder: Path) -> None:
    """The run that the commands use, and its export."""
    train = ["train", str(store), str(folder / "run"), *f"{NETWORK} {SCHEDULE} --epochs 2".split()]
    for words in (train, ["export", str(folder / "run"), str(folder / "exported"), "--to", "safetensors"]):
        process = CONTEXT.Process(target=run_command, args=(words, 0.0, folder / "made.log"))
        process.start()
        process.join()
        if process.exitcode:
            raise RuntimeError((folder / "made.err").read_text(encoding="utf-8"))


def campaign(processes: int, seed: int, spread: float, only: list[str], folder: Path) -> dict[str, Any]:
    """All of it, in `folder`; `held` where everything did."""
    rng, began = random.Random(seed), time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"
    store = make_store(folder, seed)
    shutil.copy(next((folder / "images").rglob("*.jpg")), folder / "image.jpg")
    tasks = {name: task for name, task in TASKS.items() if not only or name in only}
    uses_run = any(re.search("FOLDER/(run|exported)|OUT/run |demo|reproduce", each.words) for each in tasks.values())
    networks = ["alexnet.training.loop", "torch.utils.tensorboard"] if uses_run else []
    CONTEXT.set_forkserver_preload(["alexnet.data.prepare.prepare", "alexnet.cli", *networks])
    if uses_run:
        make_run(store, folder)
    make_archive(folder)
    with served(folder) as address:
        given = {name: task._replace(words=task.words.replace("ADDRESS", address)) for name, task in tasks.items()}
        found = [
            one_at_once(name, task, number, processes, rng, spread, folder)
            for number, (name, task) in enumerate(given.items())
        ]
    return {
        "commands": found,
        "processes": processes,
        "seed": seed,
        "held": not any(each["trouble"] for each in found),
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe_machine(),
    }


def one_at_once(
    name: str, task: Task, number: int, processes: int, rng: random.Random, spread: float, folder: Path
) -> dict[str, Any]:
    """A command alone, then in so many processes: how many were done, and what is not as it must be."""
    alone, together = folder / f"alone-{number}", folder / f"at-once-{number}"
    (expected,) = run_at_once(task, folder, alone, [0.0])
    if expected["code"]:
        raise RuntimeError(f"{name} alone ends with {expected['code']}: {expected['error']}")
    each = run_at_once(task, folder, together, [rng.uniform(0, spread) for _ in range(processes)])
    trouble = differences(task, alone, together, expected, each)
    print(f"{name}: {trouble or 'held'}", file=sys.stderr, flush=True)
    return {"command": name, "done": sum(one["code"] == 0 for one in each), "trouble": trouble}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spread", type=float, default=0.2, help="seconds within which all start")
    parser.add_argument("--only", nargs="*", default=[], choices=list(TASKS), metavar="COMMAND", help="; ".join(TASKS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="at-once-") as name:
        found = campaign(args.processes, args.seed, args.spread, args.only, Path(name))
    if args.json:
        print(json.dumps(found))
    else:
        for each in found["commands"]:
            print(f"{each['command']:>20}  {each['done']} of {args.processes} done  {each['trouble'] or 'held'}")
    return 0 if found["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
