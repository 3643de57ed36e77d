"""A file read by position: never mapped, since a map whose file is cut short ends the process (SIGBUS)."""

import contextlib
import os
from pathlib import Path


class ReadAt:
    """A file that is read at given positions, by any number of threads and also after a fork. It is closed with the
    last reference to it."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by __del__)
        status = os.fstat(self._file.fileno())
        self.length = status.st_size
        """Bytes, when it was opened."""
        self.identity = status.st_ino, status.st_size, status.st_mtime_ns

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            with contextlib.suppress(OSError):  # its disk has disappeared
                self._file.close()

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from position `at`. Raises OSError as the system does, and EOFError where the file ends
        before. Releases the interpreter lock."""
        data = os.pread(self._file.fileno(), length, at)
        while len(data) < length:  # a signal, or the end of the file
            more = os.pread(self._file.fileno(), length - len(data), at + len(data))
            if not more:
                raise EOFError(f"it ends before byte {at + length}")
            data += more
        return data
