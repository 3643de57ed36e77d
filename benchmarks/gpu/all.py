"""All that is measured on a GPU, in eight minutes on a machine where nothing has been compiled.

    python -m benchmarks.gpu.all IMAGES FOLDER [RESULT.json]

IMAGES is a folder of Imagenette; FOLDER receives a log and a JSON file per part, each as soon as it has a result,
and RESULT.json all of them. What only checks or prepares runs first, side by side; what is timed then has the machine
for itself. The store and the runs are in a temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BEGAN = time.monotonic()
TESTS = "stage or kernels or functions or (plan and (paper or original or four))"


def main() -> None:
    images, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp())
    python, store = sys.executable, work / "store"
    quiet = {"ALEXNET_KERNELS": "off"}  # the tests compare with PyTorch on the CPU: no need to compile the C++
    tests = [python, "-m", "pytest", "tests/model/cuda", "--device", "cuda", "-k", TESTS, "-W", "default"]
    together(
        start("tests", tests, folder, quiet),
        start("prepare", [python, "-m", "alexnet", "prepare", images, store], folder),
        limit=70,
    )
    for name, arguments, limit in (
        ("ours", [folder / "ours.json"], 80),
        ("fed", [store, work, folder / "fed.json"], 120),
        ("pytorch", [folder / "pytorch.json"], 190),
    ):
        together(start(name, [python, "-m", f"benchmarks.gpu.{name}", *arguments], folder), limit=limit)
    result = {}
    for name in ("ours", "fed", "pytorch"):
        if (file := folder / f"{name}.json").exists():
            result |= json.loads(file.read_text())
    result["date"] = time.strftime("%Y-%m-%d")
    if len(sys.argv) > 3:
        Path(sys.argv[3]).write_text(json.dumps(result, indent=1) + "\n")


def start(name: str, command: list, folder: Path, environment: dict[str, str] | None = None) -> tuple:
    log = (folder / f"{name}.log").open("w")
    process = subprocess.Popen(
        [str(each) for each in command], stdout=log, stderr=subprocess.STDOUT, env=os.environ | (environment or {})
    )
    return name, process, folder / f"{name}.log"


def together(*started: tuple, limit: float) -> None:
    """Wait for all, at most `limit` seconds, and print the end of what they said."""
    until = time.monotonic() + limit
    for name, process, log in started:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        lines = log.read_text(errors="replace").splitlines()
        print(f"==== {time.monotonic() - BEGAN:.0f} s: {name} ended with {process.returncode}", flush=True)
        print("\n".join(line[:1000] for line in lines[-25:]), flush=True)


if __name__ == "__main__":
    main()
