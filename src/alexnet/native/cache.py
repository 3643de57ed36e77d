"""Where built libraries are kept: a folder that only the user can write to, each library under a name of its own.

The name is `STEM-KEY-CHECKSUM.so`. The key stands for all that the library was built from, and the checksum for its
content: a file that was truncated, emptied or changed has another one, and is built again. Opening it unchecked would
end the process (SIGBUS).
"""

from __future__ import annotations

import functools
import grp
import hashlib
import os
import platform
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from alexnet.native.compiler import INCLUDE, Flags


def folder() -> Path:
    """`$XDG_CACHE_HOME/alexnet`, mode 0700; where others could write there, a temporary one for this process alone."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        kept = (Path(home) if os.path.isabs(home) else Path.home() / ".cache").resolve() / "alexnet"
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        if kept.lstat().st_uid == os.getuid() and not kept.is_symlink():
            kept.chmod(0o700)
        if is_private(kept) and os.access(kept, os.W_OK):
            return kept
    except (OSError, RuntimeError):  # read-only, or no home at all
        pass
    return Path(_process_folder().name)


@functools.cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="alexnet-kernels-")  # mode 0700, removed at exit


def is_private(path: Path) -> bool:
    """Whether only the user (and root) can have put this file or folder here."""
    status = path.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:  # symbolic links have mode 0777
        return False
    return all(_is_closed(parent.stat()) for parent in path.parents)


def _is_closed(folder: os.stat_result) -> bool:
    """Whether nobody but the user and root can rename what is in this folder."""
    if folder.st_uid not in (os.getuid(), 0):
        return False
    if folder.st_mode & stat.S_ISVTX:
        return True
    by_group = folder.st_mode & stat.S_IWGRP and not _is_own_group(folder.st_gid)
    return not (by_group or folder.st_mode & stat.S_IWOTH)


def _is_own_group(group: int) -> bool:
    """Whether the user alone is in this group: many systems give each user one, and let it write in the home folder."""
    try:
        user, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


def find(folder: Path, name: str) -> Path | None:
    """The library `name` in `folder`, where it is still what was built."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        if stat.S_ISREG(path.lstat().st_mode) and is_private(path):
            content = path.read_bytes()
            if content and path == _named(folder, name, content):
                return path
    return None


def keep(built: Path, name: str) -> Path:
    """Gives a library that was just built its name, in the same folder, once it is on the disk."""
    path = _named(built.parent, name, built.read_bytes())
    if path.is_dir():
        shutil.rmtree(path)
    _sync(built)
    built.replace(path)
    _sync(built.parent)
    return path


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _named(folder: Path, name: str, content: bytes) -> Path:
    return folder / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}.so"


ENVIRONMENT = (
    *("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX"),
    *("CCC_OVERRIDE_OPTIONS", "SDKROOT", "MACOSX_DEPLOYMENT_TARGET"),
)
"""Variables by which a compiler finds other headers, libraries and programs."""


def library_name(compiler: list[str], source: Path, flags: Flags) -> str:
    """The name, without its checksum, of what is built from this source, the headers beside it and the shared ones by
    this compiler, with its flags and environment, for this processor."""
    program, environment = os.stat(compiler[0]), [os.environ.get(each) for each in ENVIRONMENT]
    identity = (compiler, program.st_size, program.st_mtime_ns, tuple(flags), _processor(), environment)
    files = sorted(source.parent.glob("*.[ch]*")) + sorted(INCLUDE.glob("*.h"))
    sources = b"".join(path.read_bytes() for path in files)
    return f"{source.stem}-" + hashlib.sha256(sources + repr(identity).encode()).hexdigest()[:16]


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("flags", "Features", "model name", "CPU part")
    features = sorted({line for line in lines if line.startswith(wanted)})
    return repr([platform.machine(), platform.processor(), features])
