"""Reads a file by position, without mapping it: the system ends a process (SIGBUS) whose mapped file is truncated."""

import contextlib
import os
from pathlib import Path

from alexnet.files.regular import open_regular


class ReadAt:
    """A file, read at given positions by any number of threads, also after a fork. The last reference closes it."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)  # closed by __del__
        self.descriptor = self._file.fileno()
        """The file's number in this process, as long as this object is kept."""
        status = os.fstat(self.descriptor)
        self.length = status.st_size
        """Bytes, when it was opened."""
        self.identity = status.st_ino, status.st_size, status.st_mtime_ns

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            with contextlib.suppress(OSError):  # its disk has disappeared
                self._file.close()

    def read(self, position: int, length: int) -> bytes:
        """`length` bytes from byte `position` on. Releases the interpreter lock.

        Raises OSError as the system does, EOFError where the file ends before.
        """
        data = os.pread(self.descriptor, length, position)
        while len(data) < length:  # interrupted by a signal, or at the end of the file
            more = os.pread(self.descriptor, length - len(data), position + len(data))
            if not more:
                raise EOFError(f"it ends before byte {position + length}")
            data += more
        return data
