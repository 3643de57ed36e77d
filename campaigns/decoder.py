"""The JPEG decoder under the address and undefined-behaviour sanitizers.

    python -m campaigns.decoder --inputs 7000000 --seed 0

`fuzz/jpeg_writer.py` writes files of random structure, half of them damaged. Where clang++ is installed, libFuzzer
begins with them and looks for others that reach new branches, until it has given the decoder `--inputs`. Elsewhere g++
builds a program that only reads the files. Whether the pixels are libjpeg-turbo's is a matter of `campaigns.fuzz`.

Exits with 0 where nothing was found; a file that breaks the decoder is named. `--json` prints one object.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alexnet.data.image import pixels
from alexnet.native import library
from campaigns.fuzz.damage import make_input
from campaigns.fuzz.formats import jpeg_structure
from campaigns.machine import describe_machine

TARGET = Path(__file__).with_name("fuzz") / "jpeg_target.cpp"
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
FLAGS = ("-O2", "-g", "-std=c++17", "-ffp-contract=off", "-fwrapv", *SANITIZERS)
LONGEST = 4096  # bytes of an input of libFuzzer
FILES_AT_ONCE = 1000


def build(folder: Path) -> tuple[str, Path]:
    """The compiler that was used, and the program. Raises RuntimeError where none can build it."""
    program, reasons = folder / "target", []
    headers = [f"-I{each}" for each in (pixels.SOURCE.parent, Path(library.__file__).parent)]
    for compiler, special in (("clang++", ("-fsanitize=fuzzer",)), ("g++", ("-DWITH_MAIN",))):
        if shutil.which(compiler):
            command = [compiler, *FLAGS, *special, *headers, "-o", str(program), str(TARGET)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                return compiler, program
            reasons.append(f"{compiler}: {done.stderr.strip()}")
    raise RuntimeError(
        "no compiler builds the target: " + ("\n".join(reasons) or "neither clang++ nor g++ is installed")
    )


def campaign(most: int, files: int, seed: int, folder: Path) -> dict[str, Any]:
    """All of it, in `folder`: the result in numbers. `failure` is what a sanitizer said, or empty."""
    began = time.monotonic()
    compiler, program = build(folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    examples = jpeg_structure.examples()
    paths = [corpus / f"{number:06}.jpg" for number in range(files)]
    for number, path in enumerate(paths):
        path.write_bytes(make_input(jpeg_structure.FORMAT, examples, seed, number))
    inputs, failure = _fuzz(program, corpus, most, seed) if compiler == "clang++" else _read(program, paths)
    return {
        "inputs": inputs,
        "failure": failure,
        "compiler": compiler,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "machine": describe_machine(),
    }


def _fuzz(program: Path, corpus: Path, most: int, seed: int) -> tuple[int, str]:
    options = [
        f"-runs={most}",
        f"-seed={seed + 1}",
        f"-max_len={LONGEST}",
        "-print_final_stats=1",
    ]
    done = subprocess.run([str(program), *options, str(corpus)], capture_output=True, text=True, cwd=corpus.parent)
    found = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    return int(found[1]) if found else 0, done.stderr[-5000:] if done.returncode else ""


def _read(program: Path, paths: list[Path]) -> tuple[int, str]:
    for first in range(0, len(paths), FILES_AT_ONCE):
        some = [str(path) for path in paths[first : first + FILES_AT_ONCE]]
        done = subprocess.run([str(program), *some], capture_output=True, text=True)
        if done.returncode:
            return first, done.stderr[-5000:]
    return len(paths), ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--inputs", type=int, default=7_000_000, help="of libFuzzer, those that it begins with included"
    )
    parser.add_argument("--files", type=int, default=2000, help="files of random structure that it begins with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a new folder for the files, which are otherwise deleted")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        found = campaign(args.inputs, args.files, args.seed, folder)
    print(json.dumps(found) if args.json else found)
    return 1 if found["failure"] else 0


if __name__ == "__main__":
    sys.exit(main())
