"""A framework in a process of its own: it shares no threads, no memory and no package versions with the others.

`SeparateProcess` starts a module of `benchmarks` and asks it to repeat its work; the module answers with `serve`. Both
need the standard library alone, so that the module may run in another virtual environment.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


class UnavailableError(Exception):
    """Why a framework cannot be measured here, in one line."""


class SeparateProcess:
    """`python -m module arguments`, with `variables` added to the environment.

    `description` is what the module told of itself once it was ready. Raises UnavailableError where it ends before.
    """

    def __init__(
        self, module: str, *arguments: object, python: str = sys.executable, variables: Mapping[str, str] | None = None
    ) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        try:
            self._process = subprocess.Popen(
                [python, "-m", module, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=os.environ | {"PYTHONPATH": path} | dict(variables or {}),
            )
        except OSError as error:
            self._errors.close()
            raise UnavailableError(f"{python} cannot be started ({error.strerror})") from None
        try:
            self.description = self._answer()
        except BaseException:
            self.__exit__()
            raise

    def run(self, times: int = 1) -> None:
        """Do the work `times` times. Raises UnavailableError where it fails."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the process has ended; _answer says why
            self._process.stdin.write(f"{times}\n")
            self._process.stdin.flush()
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line.split(":")[0]] or lines[-1:]
        raise UnavailableError(errors[-1][:300] if errors else f"it ended with code {code}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # ends the process
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def serve(prepare: Callable[[], tuple[dict[str, Any], Callable[[], object]]]) -> None:
    """The other side: `prepare` gives the description and the work, which is repeated as each line of input asks."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print is no answer

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    description, work = prepare()
    answer(description)
    for line in sys.stdin:
        for _ in range(int(line)):
            work()
        answer({})
