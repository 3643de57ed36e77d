"""All that is measured on a GPU, in eight minutes on a machine where nothing has been compiled.

    python -m benchmarks.gpu.all IMAGES FOLDER [RESULT.json]

IMAGES is a folder of Imagenette, `train/CLASS` and `val/CLASS`; FOLDER receives a log and a JSON file per part, each as
soon as it has a result, and RESULT.json all of them. What only checks, compiles or prepares runs first, side by side;
what is timed then has the machine for itself, what matters most first. The store and the runs are in a temporary folder
(`TMPDIR`), of some 4 GB. The table comes last.
"""

import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

BEGAN = time.monotonic()
SECONDS = 480
"""For all of it."""
TESTS = "tests/model/cuda", "tests/training/test_cuda_step.py"
SANITIZED = "tests/model/cuda/test_kernels.py", "tests/model/cuda/test_stage.py"
TIMED = ("ours", 110), ("fed", 150), ("pytorch", SECONDS)
"""Modules, and the most seconds of each; the last one has what is left."""


class Part(NamedTuple):
    """A process that has been started, with a group of its own: what it starts ends with it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    began: float


def main() -> None:
    images, folder = Path(sys.argv[1]), Path(sys.argv[2])
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else folder / "result.json"
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp())
    result: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "processes": {}}

    def wait(parts: list[Part], seconds: float) -> None:
        """Wait for all, and put what they found into the result."""
        result["processes"] |= together(parts, min(seconds, SECONDS - (time.monotonic() - BEGAN)))
        for name, _ in TIMED:
            if (file := folder / f"{name}.json").exists():
                result.update(json.loads(file.read_text()))
        out.write_text(json.dumps(result, indent=1) + "\n")

    try:
        wait(checks(images, work / "store", folder), 100)
        arguments = {"fed": (work / "store", work)}
        for name, seconds in TIMED:
            command = "-m", f"benchmarks.gpu.{name}", *arguments.get(name, ()), folder / f"{name}.json"
            wait([start(name, folder, *command)], seconds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(table(result))


def checks(images: Path, store: Path, folder: Path) -> list[Part]:
    """Start all that needs no machine for itself."""
    plain = {"ALEXNET_KERNELS": "off"}  # the tests compare with PyTorch on the CPU: no need to compile the C++
    shared = ("-n", 8) if importlib.util.find_spec("xdist") else ()
    test = "-m", "pytest", "--device", "cuda", "-W", "default"
    parts = [
        start("prepare", folder, "-m", "alexnet", "prepare", images, store),
        start("tests", folder, *test, *shared, *TESTS, variables=plain),
    ]
    for network, dtype in itertools.product(("paper", "original"), ("bfloat16", "float32")):
        command = "-m", "benchmarks.gpu.ours", "compile", network, dtype
        parts.append(start(f"compile-{network}-{dtype}", folder, *command))
    if sanitizer := shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH')}:/usr/local/cuda/bin"):
        before = (sanitizer, "--error-exitcode", 9)
        variables = plain | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # so that each tensor has bounds of its own
        parts.append(start("sanitizer", folder, *test, *SANITIZED, before=before, variables=variables))
    return parts


def start(
    name: str, folder: Path, *arguments: object, before: tuple = (), variables: Mapping[str, str] | None = None
) -> Part:
    """Start `python arguments`, with a log in `folder`."""
    log = folder / f"{name}.log"
    command = [str(each) for each in (*before, sys.executable, *arguments)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | dict(variables or {})
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, process_group=0)
    return Part(name, process, log, time.monotonic())


def together(parts: list[Part], seconds: float) -> dict[str, Any]:
    """Wait for all, at most so long, and print the end of what they said. How each ended, and after how long."""
    until, found = time.monotonic() + seconds, {}
    waiting = list(parts)
    while waiting:
        over = time.monotonic() >= until
        for part in list(waiting):
            if over:
                os.killpg(part.process.pid, signal.SIGKILL)
            if over or part.process.poll() is not None:
                waiting.remove(part)
                code, taken = part.process.wait(), round(time.monotonic() - part.began)
                lines = part.log.read_text(errors="replace").splitlines()
                found[part.name] = {"code": code, "seconds": taken, "end": lines[-1][:300] if lines else ""}
                print(
                    f"==== {time.monotonic() - BEGAN:.0f} s: {part.name} ended with {code} after {taken} s", flush=True
                )
                print("\n".join(line[:300] for line in lines[-4 if code == 0 else -25 :]), flush=True)
        time.sleep(0.1)
    return found


def table(result: Mapping[str, Any]) -> str:
    """What was measured, in a line each; of the operations of a step, those that lose most against their floor."""
    lines = [f"{name}: {each['end'] or each['code']}" for name, each in result["processes"].items()]
    lines += [json.dumps({key: result.get(key)}) for key in ("machine", "limits")]
    for row in (*result.get("training", ()), *result.get("pytorch", ()), *result.get("inference", ())):
        what = row.get("form") or " ".join([row.get("network", "inference"), row.get("dtype", "")])
        if "error" in row:
            lines.append(f"{what:36} {json.dumps(row)}")
            continue
        memory = f"{row['peak_memory_gib']:6.1f} GiB" if "peak_memory_gib" in row else ""
        rate, taken = row["images_per_second"], row["milliseconds"]
        lines.append(f"{what:36} {row['batch']:5} {rate:10,.0f} images/s {taken:8.3f} ms {memory}")
    rows = result.get("parts", {}).get("paper", [])
    for row in sorted(rows, key=lambda row: row["floor_microseconds"] - row["microseconds"])[:12]:
        lines.append(f"{row['part']:36} {row['microseconds']:6.0f} us, floor {row['floor_microseconds']:5.0f}")
    lines += [json.dumps({key: result.get(key)}) for key in ("loader", "fed", "imagenette", "continuation", "cudnn")]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    main()
