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
    try:
        handle = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"Another {command} is writing {folder}: wait until it is done, or choose another name."
        ) from None
    try:
        yield
    finally:
        if _is_at(handle, folder):  # and not another folder, which another process has made once this one was renamed
            with suppress(OSError):
                folder.rmdir()
        os.close(handle)


@contextmanager
def wait(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is created, as soon as no other process holds it.

    On file systems without locks every process is admitted.
    """
    handle = _locked(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def _locked(folder: Path, kind: int) -> int:
    """A handle of `folder`, which is created, with its lock. Raises BlockingIOError as flock does."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # whoever held it has deleted or renamed it just now
            continue
        try:
            fcntl.flock(handle, kind)
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:  # no locks
            pass
        if _is_at(handle, folder):
            return handle
        os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False


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
