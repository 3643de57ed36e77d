"""Runs the scripts of `benchmarks/` and `campaigns/` as a user does, in a process of their own; opens those that are in
no package."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from processes import python

ROOT = Path(__file__).parents[1]


def run_script(module: str, *arguments: object, folder: Path = ROOT) -> str:
    """`python -m module` in `folder` on one thread. Returns its standard output; it must succeed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return python("-m", module, *arguments, env={"OMP_NUM_THREADS": "1", "PYTHONPATH": path}, folder=folder)


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
