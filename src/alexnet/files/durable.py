"""Files that are on the disk whole, or not at all, whatever stops the program or the machine."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEW = ".new-"
"""Start of the names of files that are not whole yet; one that is left over may be deleted."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to, in the same folder, that becomes `path` at the end: with all its content, and on the disk.

    After an error `path` is as it was before.
    """
    temporary = path.with_name(NEW + path.name)
    try:
        yield temporary
        put(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put(temporary: Path, path: Path) -> None:
    """Gives a file that is complete its name, once its content is on the disk."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():  # some file systems sync no folders
            raise
    finally:
        os.close(handle)


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or this user's part of it, is full."""
    # Rust's libraries (safetensors) give the number only inside their text.
    numbers = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in numbers or any(f"os error {number})" in str(error) for number in numbers)
