"""Rows of activations in a `.npy` file, read and written by position: there may be more than memory holds.

A map of the file would do, but the system ends a process (SIGBUS) whose mapped file finds no room on its disk, is cut
short or disappears. Here that is an error that can be told.
"""

import math
import os
import shutil
from pathlib import Path

import numpy as np

from alexnet.files.read_at import ReadAt


def make_rows(path: Path, shape: tuple[int, ...]) -> None:
    """A new file for a float32 array, zeros until they are written. ValueError where the disk has no room for it."""
    needed = 4 * math.prod(shape)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(
            f"{path.with_suffix('.npy')} would take {needed / 1e9:.1f} GB and its disk has {free / 1e9:.1f} "
            "GB free; choose another layer, fewer images or another disk."
        )
    with open(path, "wb") as file:
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, described)
        file.truncate(file.tell() + needed)


class RowFile:
    """The float32 array [N, ...] in `path`. Several processes may write different rows of it.

    Raises OSError as the system does, ValueError, naming the file, where it holds something else or ends too early.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            try:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError("it is of another version")
                self.shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
                if fortran_order or dtype != np.dtype("<f4") or not self.shape:
                    raise ValueError("its numbers are others")
            except ValueError as error:
                raise ValueError(f"{path} is no array of rows ({error}): delete it, it is made again.") from None
            self._start = file.tell()
        self._size = 4 * math.prod(self.shape[1:])
        self._read: ReadAt | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` to before `last`, as far as there are any: float32 [last - first, ...]."""
        last = min(last, len(self))
        self._read = self._read or ReadAt(self.path)
        try:
            data = self._read.read(self._start + first * self._size, max(0, last - first) * self._size)
        except EOFError as error:
            raise ValueError(f"{self.path} is cut short ({error}): delete it, it is made again.") from None
        return np.frombuffer(bytearray(data), "<f4").reshape(-1, *self.shape[1:])

    def write(self, first: int, values: np.ndarray) -> None:
        """`values` [n, ...], as float32, from row `first` on."""
        assert first >= 0 and first + len(values) <= len(self) and values.shape[1:] == self.shape[1:]
        data = np.ascontiguousarray(values, "<f4").data.cast("B")
        handle = os.open(self.path, os.O_WRONLY)
        try:
            at = self._start + first * self._size
            while data:
                done = os.pwrite(handle, data, at)
                at, data = at + done, data[done:]
        finally:
            os.close(handle)
