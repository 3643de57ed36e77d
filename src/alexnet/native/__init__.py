"""Compiles, keeps and opens the parts written in C++: `model/native` and `data/native`.

Built at first use (some seconds, once per machine and version) with the C++ compiler that `CXX` names, or g++,
clang++ or c++, into a cache folder that only the user can write. Without a compiler everything runs in Python's
libraries; `ALEXNET_KERNELS=off` asks for that.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

Flags = Sequence[tuple[str, ...]]
"""Sets of flags; the first that the compiler accepts is taken."""

NOTHING: Mapping[str, Sequence[type]] = MappingProxyType({})


class Threads(NamedTuple):
    """Threads of one library that work of another can be given to."""

    each: int
    """Where its function `each(work, what, count, threads)` is, which calls `work(what, i)` for every i < count."""
    count: int


class UnavailableError(Exception):
    """Why a library could not be built, in one clause."""


def is_off() -> bool:
    """Whether nothing compiled is wanted."""
    return os.environ.get("ALEXNET_KERNELS", "").lower() in ("off", "0", "no")


def load(source: Path, flags: Flags, arguments: Mapping[str, Sequence[type]] = NOTHING) -> ctypes.CDLL:
    """The library made of `source`, built where the cache has none, its functions with the types of their `arguments`.
    Raises UnavailableError."""
    if os.name != "posix":
        raise UnavailableError("they are built on Linux and macOS only")
    command = compiler()
    if command is None:
        raise UnavailableError("there is no C++ compiler (install g++, or name one in CXX)")
    try:
        path = cache_folder() / library_name(command, source, flags)
        if not (path.exists() and _is_private(path)):
            build(command, source, flags, path)
        library = ctypes.CDLL(str(path))
        for name, types in arguments.items():
            getattr(library, name).argtypes = types
        return library
    except (OSError, AttributeError) as error:
        raise UnavailableError(str(error)) from error


def found(load: Callable[[], ctypes.CDLL], without: str) -> ctypes.CDLL | None:
    """What `load` gives, or None, with a warning that says what it is like `without`."""
    try:
        return load()
    except UnavailableError as error:
        warnings.warn(f"{without}, {error}. ALEXNET_KERNELS=off silences this.", RuntimeWarning, stacklevel=3)
        return None


def compiler() -> list[str] | None:
    """The C++ compiler's command, or None."""
    named = os.environ.get("CXX")
    for command in [shlex.split(named)] if named else [["g++"], ["clang++"], ["c++"]]:
        found = shutil.which(command[0]) if command else None
        if found:
            return [found, *command[1:]]
    return None


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("flags", "Features", "model name", "CPU part")
    features = sorted({line for line in lines if line.startswith(wanted)})
    return repr([platform.machine(), platform.processor(), features])


def library_name(command: list[str], source: Path, flags: Flags) -> str:
    """A name that changes with the source and what lies beside it, the compiler, the flags and the processor."""
    program = os.stat(command[0])
    identity = (command, program.st_size, program.st_mtime_ns, tuple(flags), _processor())
    sources = b"".join(path.read_bytes() for path in sorted(source.parent.glob("*.[ch]*")))
    return f"{source.stem}-" + hashlib.sha256(sources + repr(identity).encode()).hexdigest()[:16] + ".so"


def _is_private(path: Path) -> bool:
    """Whether nobody but the user (and root) can have put this here."""
    status = path.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:  # links are open to all
        return False
    modes = [parent.stat().st_mode for parent in path.parents]
    return not any(mode & stat.S_IWOTH and not mode & stat.S_ISVTX for mode in modes)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/alexnet`, mode 0700; where others could write there, one for this process alone."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (Path(home) if os.path.isabs(home) else Path.home() / ".cache").resolve() / "alexnet"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid == os.getuid() and not folder.is_symlink():
            folder.chmod(0o700)
        if _is_private(folder) and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # read-only, or no home at all
        pass
    return Path(_process_folder().name)


@functools.cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="alexnet-kernels-")  # mode 0700, removed at exit


def build(command: list[str], source: Path, flags: Flags, to: Path) -> None:
    """Compiles `source` into the file `to`, which appears whole or not at all.

    Raises UnavailableError when the compiler fails with every set of flags.
    """
    message = ""
    for each in flags:
        handle, temporary = tempfile.mkstemp(suffix=".so", prefix=f".{source.stem}-", dir=to.parent)
        os.close(handle)
        try:
            done = subprocess.run(
                [*command, *each, str(source), "-o", temporary],
                capture_output=True, text=True, errors="replace", timeout=300,
            )  # fmt: skip
            if done.returncode == 0:
                os.chmod(temporary, 0o700)
                os.replace(temporary, to)
                return
            message = next((s for s in done.stderr.splitlines() if "error" in s), "no message")
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"{command[0]} could not be run ({error})") from error
        finally:
            Path(temporary).unlink(missing_ok=True)
    raise UnavailableError(f"{command[0]} failed ({message})")
