"""Work in a process of its own, so that frameworks share neither threads nor memory nor versions of packages.

The one side (`Elsewhere`) starts a script and asks it for rounds of its work; the script answers with `serve`. Needs
the standard library alone: the script may run in another virtual environment.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Unavailable(Exception):
    """Why a framework cannot be measured here, in one line."""


class Elsewhere:
    """`script` in a process of its own: `said` is what it told of itself, `work` does it.

    `variables` are added to the environment. Raises Unavailable where it ends before it is ready.
    """

    def __init__(
        self, script: str, *arguments: object, python: str = sys.executable, variables: Mapping[str, str] | None = None
    ) -> None:
        command = [python, "-m", script, *map(str, arguments)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=os.environ | {"PYTHONPATH": path} | dict(variables or {}),
            )
        except OSError as error:
            raise Unavailable(f"{python} cannot be started ({error.strerror})") from None
        self.said = self._answer()

    def work(self, times: int = 1) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and the answer says why
            self._process.stdin.write(f"{times}\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._log.seek(0)
        lines = [each.strip() for each in self._log.read().splitlines() if each.strip()]
        errors = [each for each in lines if "Error" in each.split(":")[0]] or lines[-1:]
        raise Unavailable(errors[-1][:300] if errors else f"it ended with code {code}")

    def __enter__(self) -> "Elsewhere":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._log.close()


def serve(prepare: Callable[[], tuple[dict[str, Any], Callable[[], object]]]) -> None:
    """Prepare, tell what was prepared, then work as often as each line of standard input says."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print is no answer

    def answer(said: dict[str, Any]) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    said, work = prepare()
    answer(said)
    for line in sys.stdin:
        for _ in range(int(line)):
            work()
        answer({})
