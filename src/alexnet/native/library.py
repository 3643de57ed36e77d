"""Opens the C++ of this project as libraries, which are built at first use (some seconds, once per machine).

Without a compiler everything runs in Python's libraries; `ALEXNET_KERNELS=off` asks for that.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.native import compiler as cxx
from alexnet.native.compiler import Flags, UnavailableError

_TYPES = {
    "v": None, "p": ctypes.c_void_p, "s": ctypes.c_char_p,
    "b": ctypes.c_bool, "i": ctypes.c_int, "l": ctypes.c_int64, "f": ctypes.c_float,
}  # fmt: skip
"""The letters of `exports.h`."""


class _Export(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("types", ctypes.c_char_p), ("function", ctypes.c_void_p))


def _raise_failure(name: str, result: Any, _function: Any, _arguments: Any) -> Any:
    """What a function of a library has returned. Raises MemoryError or OSError where it failed (`exports.h`)."""
    if code := ctypes.get_errno():
        if code == errno.ENOMEM:
            raise MemoryError(f"There is not enough memory for {name}.")
        raise OSError(code, f"The compiled function {name} failed: {os.strerror(code)}")
    return result


class Library:
    """An open library; its functions are attributes, with the types that it exports them with (`exports.h`).

    They raise MemoryError where memory is short, and OSError for what else fails in them, such as starting a thread.
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.alexnet_exports.restype = ctypes.POINTER(_Export)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._addresses: dict[str, int] = {}
        for export in self._library.alexnet_exports():
            if export.name is None:
                break
            name = export.name.decode()
            result, *arguments = (_TYPES[letter] for letter in export.types.decode())
            self._functions[name] = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)(export.function)
            self._functions[name].errcheck = functools.partial(_raise_failure, name)
            self._addresses[name] = export.function

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(f"the library exports no {name}") from None

    def address(self, name: str) -> int:
        """Where the function `name` is in memory, to be handed to another library."""
        return self._addresses[name]


class Threads(NamedTuple):
    """Threads of one library, for another library's work."""

    each: int
    """Address of its function `each(work, what, count, threads)`, which calls `work(what, i)` for every i < count."""
    count: int


def is_off() -> bool:
    """Whether the user wants no compiled code."""
    return os.environ.get("ALEXNET_KERNELS", "").lower() in ("off", "0", "no")


def load(source: Path, flags: Flags) -> Library:
    """The library made of `source`, built where the cache has none. Raises UnavailableError."""
    if os.name != "posix":
        raise UnavailableError("they are built on Linux and macOS only")
    from alexnet.native import cache  # knows users and groups, which other systems have not

    compiler = cxx.command()
    if compiler is None:
        raise UnavailableError("there is no C++ compiler (install g++, or name one in CXX)")
    try:
        folder, name = cache.folder(), cache.library_name(compiler, source, flags)
        path = cache.find(folder, name) or cache.keep(cxx.build(compiler, source, flags, folder), name)
        return Library(path)
    except (OSError, AttributeError) as error:
        raise UnavailableError(str(error)) from error


def load_or_warn(load: Callable[[], Library], without: str) -> Library | None:
    """What `load` gives, or None, with a warning that says what it is like `without`."""
    try:
        return load()
    except UnavailableError as error:
        warnings.warn(f"{without}, {error}. ALEXNET_KERNELS=off silences this.", RuntimeWarning, stacklevel=3)
        return None
