"""Where built libraries are kept: a folder that only the user can write to, each library under a name of its own."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
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
    modes = [parent.stat().st_mode for parent in path.parents]
    return not any(mode & stat.S_IWOTH and not mode & stat.S_ISVTX for mode in modes)


def library_name(compiler: list[str], source: Path, flags: Flags) -> str:
    """A file name that changes with the source, the headers beside it and the shared ones, the compiler, its flags and
    the processor."""
    program = os.stat(compiler[0])
    identity = (compiler, program.st_size, program.st_mtime_ns, tuple(flags), _processor())
    files = sorted(source.parent.glob("*.[ch]*")) + sorted(INCLUDE.glob("*.h"))
    sources = b"".join(path.read_bytes() for path in files)
    return f"{source.stem}-" + hashlib.sha256(sources + repr(identity).encode()).hexdigest()[:16] + ".so"


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    wanted = ("flags", "Features", "model name", "CPU part")
    features = sorted({line for line in lines if line.startswith(wanted)})
    return repr([platform.machine(), platform.processor(), features])
