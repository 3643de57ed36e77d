"""Opens the C++ of this project as libraries, which are built at first use (some seconds, once per machine).

Without a compiler everything runs in Python's libraries; `ALEXNET_KERNELS=off` asks for that.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from alexnet.native import cache
from alexnet.native import compiler as cxx
from alexnet.native.compiler import Flags, UnavailableError

NOTHING: Mapping[str, Sequence[type]] = MappingProxyType({})


class Threads(NamedTuple):
    """Threads of one library, for another library's work."""

    each: int
    """Address of its function `each(work, what, count, threads)`, which calls `work(what, i)` for every i < count."""
    count: int


def is_off() -> bool:
    """Whether the user wants no compiled code."""
    return os.environ.get("ALEXNET_KERNELS", "").lower() in ("off", "0", "no")


def load(source: Path, flags: Flags, arguments: Mapping[str, Sequence[type]] = NOTHING) -> ctypes.CDLL:
    """The library made of `source`, built where the cache has none, its functions with the types of their `arguments`.

    Raises UnavailableError.
    """
    if os.name != "posix":
        raise UnavailableError("they are built on Linux and macOS only")
    compiler = cxx.command()
    if compiler is None:
        raise UnavailableError("there is no C++ compiler (install g++, or name one in CXX)")
    try:
        path = cache.folder() / cache.library_name(compiler, source, flags)
        if not (path.exists() and cache.is_private(path)):
            cxx.build(compiler, source, flags, path)
        library = ctypes.CDLL(str(path))
        for name, types in arguments.items():
            getattr(library, name).argtypes = types
        return library
    except (OSError, AttributeError) as error:
        raise UnavailableError(str(error)) from error


def load_or_warn(load: Callable[[], ctypes.CDLL], without: str) -> ctypes.CDLL | None:
    """What `load` gives, or None, with a warning that says what it is like `without`."""
    try:
        return load()
    except UnavailableError as error:
        warnings.warn(f"{without}, {error}. ALEXNET_KERNELS=off silences this.", RuntimeWarning, stacklevel=3)
        return None
