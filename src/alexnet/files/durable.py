"""Atomic writes: a file is on the disk whole or not at all, whatever stops the program or the machine."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEW = ".new-"
"""Prefix of the names of files that are being written. One that is left over may be deleted."""


def mark() -> str:
    """What nobody else puts into the names of what is being written: this machine, this process, and a number."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def new_name(path: Path, mark: str) -> Path:
    """Where the writer with this `mark` writes what becomes `path`. Deletes what dead writers of this machine left."""
    _remove_dead(path)
    return path.with_name(f"{NEW}{mark}-{path.name}")


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _remove_dead(path: Path) -> None:
    ours = re.compile(rf"{re.escape(NEW)}{_machine()}-(\d+)-[0-9a-f]{{8}}-{re.escape(path.name)}")
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(path.parent):
            if (match := ours.fullmatch(name)) and not _is_alive(int(match[1])):
                left = path.with_name(name)
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder to write to. At the end it becomes `path`, with all its content on the disk.

    After an error, `path` is as it was before. The name is this writer's alone: of several at once, the last to end
    leaves its content.
    """
    temporary = new_name(path, mark())
    try:
        yield temporary
        put(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put(temporary: Path, path: Path) -> None:
    """Rename a complete file to `path` once its content is on the disk."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def write_json(path: Path, content: object) -> None:
    """Write `content` as JSON, whole or not at all."""
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot sync folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(handle)


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or this user's quota, is full."""
    # Rust libraries (safetensors) give the number only in their text.
    numbers = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in numbers or any(f"os error {number})" in str(error) for number in numbers)
