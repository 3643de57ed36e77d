"""Runs the scripts of `benchmarks/` and `campaigns/` as a user does, in a process of their own; opens those that are in
no package."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 300  # that a script may take


def run_script(module: str, *arguments: object, folder: Path = ROOT) -> str:
    """`python -m module` in `folder` on one thread. Returns its standard output; it must succeed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        timeout=SECONDS,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def json_of(module: str, *arguments: object) -> dict[str, Any]:
    """The one JSON object that the script prints with `--json`."""
    return json.loads(run_script(module, *arguments, "--json"))


def module_at(path: Path) -> ModuleType:
    """The script at `path`, imported."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
