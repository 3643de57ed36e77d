"""Atomic writes: a file is on the disk whole or not at all, whatever stops the program or the machine."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEW = ".new-"
"""Prefix of the names of files that are being written. One that is left over may be deleted."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder to write to. At the end it becomes `path`, with all its content on the disk.

    After an error, `path` is as it was before.
    """
    temporary = path.with_name(NEW + path.name)
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
