"""One writer per folder: a lock that ends with its process, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def hold(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of `folder`. The folder is created, and deleted at the end if it is empty.

    Raises ValueError where another process, named `command` in the message, holds it. On file systems without locks
    every process is admitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"Another {command} is writing {folder}: wait until it is done, or choose another name."
            ) from None
        except OSError:  # no locks
            pass
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(handle)


@contextmanager
def wait(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is created, as soon as no other process holds it.

    On file systems without locks every process is admitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of the folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
