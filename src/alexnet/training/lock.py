"""One training for one run folder: a lock that ends with its process, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def hold(run: Path) -> Iterator[None]:
    """Hold `run`, which is made if it is not there, and taken away again if it is empty at the end.

    ValueError where another process holds it. On file systems without locks, nobody is refused.
    """
    run.mkdir(parents=True, exist_ok=True)
    handle = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"Another alexnet train is writing {run}: wait until it is done, or name another run folder."
            ) from None
        except OSError:
            pass
        yield
    finally:
        with suppress(OSError):
            run.rmdir()
        os.close(handle)
