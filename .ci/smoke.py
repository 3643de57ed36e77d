"""Builds the sdist, from it the wheel, installs the wheel where nothing else of this clone is, and works with it.

Usage: python .ci/smoke.py FOLDER [--here]     (`make smoke`)

FOLDER gets everything. Without --here the wheel and what it needs are installed into a new environment; with --here
into a folder, beside the packages of the Python that runs this.
"""

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
WORK = """
import json, sys
from pathlib import Path

import alexnet
from alexnet.cli import main
from alexnet.demo.synthetic import draw_set
from alexnet.model.cpu import kernels
from alexnet.native import compiler

assert Path(alexnet.__file__).is_relative_to(sys.argv[1]), alexnet.__file__
draw_set(Path("images"), train=48, val=12, workers=1)
image = str(next(Path("images/val").rglob("*.jpg")))
small = "--epochs 1 --batch-size 16 --device cpu --network.width 0.05 --network.input-size 99 --recipe small".split()
for command in (
    ["prepare", "images", "store", "--size", "112", "--workers", "1"],
    ["train", "store", "run", *small],
    ["evaluate", "run", "--data", "store", "--views", "1"],
    ["predict", "run", image],
    ["verify", "run"],
):
    assert main(command) == 0, command
assert kernels.available(), "the C++ of the wheel was not built"
network = alexnet.load("run")
assert network(network.preprocess(image)[None]).shape == (1, 12)
"""


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist and the wheel, in `folder`."""
    subprocess.run([sys.executable, "-c", BUILD, "build_sdist", str(folder)], cwd=ROOT, check=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    subprocess.run([sys.executable, "-c", BUILD, "build_wheel", str(folder)], cwd=source, check=True)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def install(wheel: Path, folder: Path, *, here: bool) -> tuple[list[str], Path, dict[str, str]]:
    """Install the wheel. Returns the Python that sees it, the folder of its programs, and their environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if here:
        subprocess.run(
            [sys.executable, *pip, "--no-deps", "--no-compile", "--target", str(folder), str(wheel)], check=True
        )
        return [sys.executable], folder / "bin", environment | {"PYTHONPATH": str(folder)}
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    index = ["--extra-index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    subprocess.run([python, *pip, *index, str(wheel)], check=True)
    return [python], folder / "bin", environment


def check(python: list[str], programs: Path, environment: dict[str, str], folder: Path, *, works: bool) -> None:
    """Start the installed program in `folder`, and, with `works`, do with it what a user does first."""

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    version = run(str(programs / "alexnet"), "--version")
    assert version.startswith("alexnet ") and version == run(*python, "-m", "alexnet", "--version"), version
    assert "complete" in run(str(programs / "alexnet"), "completion", "bash")
    if works:
        run(*python, "-W", "error", "-c", WORK, str(programs.parent))


def main(folder: Path, *, here: bool) -> None:
    """All of it."""
    for name in ("dist", "work"):
        (folder / name).mkdir(parents=True)
    _, wheel = build(folder / "dist")
    check(*install(wheel, folder / "installed", here=here), folder / "work", works=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), here="--here" in sys.argv[2:])
    print("The wheel works.")
