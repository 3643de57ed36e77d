"""The C++ compiler, and building one shared library with it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

INCLUDE = Path(__file__).parent
"""Where the headers lie that all sources share: `vector.h`."""
TIMEOUT = 300.0
"""Seconds after which the compiler is given up."""

Flags = Sequence[tuple[str, ...]]
"""Sets of flags; the first that the compiler accepts is used."""


class UnavailableError(ValueError):
    """Why a library could not be built or opened, in one clause."""


def command() -> list[str] | None:
    """The C++ compiler's command: what `CXX` names, or g++, clang++ or c++, whichever is there first; None without.

    Options that `CXX` names, as in `CXX="g++ -march=x86-64"`, come after those of this program and so prevail.

    Raises UnavailableError where `CXX` is no command.
    """
    named = os.environ.get("CXX")
    try:
        words_named = shlex.split(named) if named else []
    except ValueError as error:
        raise UnavailableError(f"the variable CXX cannot be read as a command ({error}): {named}") from error
    for words in [words_named] if named else [["g++"], ["clang++"], ["c++"]]:
        program = shutil.which(words[0]) if words else None
        if program:
            return [program, *words[1:]]
    return None


def build(compiler: list[str], source: Path, flags: Flags, folder: Path) -> Path:
    """Compiles `source` into a temporary file in `folder`, and returns it.

    Raises UnavailableError when the compiler fails with every set of flags.
    """
    first = next((i for i, word in enumerate(compiler) if word.startswith("-")), len(compiler))
    program, options = compiler[:first], compiler[first:]
    message = ""
    for each in flags:
        handle, temporary = tempfile.mkstemp(suffix=".so", prefix=f".{source.stem}-", dir=folder)
        os.close(handle)
        try:
            status, said = _run([*program, *each, *options, f"-I{INCLUDE}", str(source), "-o", temporary])
            if status == 0:
                os.chmod(temporary, 0o700)
                return Path(temporary)
            message = next((line for line in said.splitlines() if "error" in line), "no message")
        except (OSError, subprocess.TimeoutExpired) as error:
            Path(temporary).unlink(missing_ok=True)
            raise UnavailableError(f"{compiler[0]} could not be run ({error})") from error
        Path(temporary).unlink(missing_ok=True)
    raise UnavailableError(f"{compiler[0]} failed ({message})")


def _run(words: list[str]) -> tuple[int, str]:
    """The exit status of a compiler and its messages. One that is given up or interrupted ends with all that it has
    started: g++ compiles in a process of its own."""
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    ) as process:
        try:
            said = process.communicate(timeout=TIMEOUT)[1]
            return process.returncode, said
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
