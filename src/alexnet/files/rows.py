"""A float32 array in a `.npy` file, written and read in parts: it may be larger than memory.

The file is read and written by position and not mapped: the system ends a process (SIGBUS) whose mapped file finds no
room on its disk, is truncated or disappears. Here those are ordinary errors.
"""

import math
import os
import shutil
from pathlib import Path

import numpy as np

from alexnet.files.read_at import ReadAt
from alexnet.files.regular import open_regular


def make_rows(path: Path, shape: tuple[int, ...]) -> None:
    """Create the file of a float32 array of zeros. Raises ValueError where the disk has no room for it."""
    needed = 4 * math.prod(shape)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(
            f"{path.with_suffix('.npy')} would take {needed / 1e9:.1f} GB, and its disk has {free / 1e9:.1f} GB free: "
            "choose another layer, fewer images or another disk."
        )
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + needed)


class RowFile:
    """The float32 array [N, ...] in `path`. Several processes may write different rows of it.

    Raises OSError as the system does, ValueError, naming the file, where it holds something else or ends too early.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_regular(path) as file:
            try:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError("its format version is not 1.0")
                self.shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
                if fortran_order or dtype != np.dtype("<f4") or not self.shape or min(self.shape) < 0:
                    raise ValueError("it is not float32 in C order")
                self._start, length = file.tell(), os.fstat(file.fileno()).st_size
                if self._start + 4 * math.prod(self.shape) > length:
                    raise ValueError(f"it is truncated: it has {length:,} bytes")
            except Exception as error:  # NumPy raises nearly anything for a damaged header
                why = " ".join(str(error).split())
                raise ValueError(f"{path} is not an array of rows ({why}): delete it to make it again.") from None
        self._row_bytes = 4 * math.prod(self.shape[1:])
        self._file: ReadAt | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` to `last`, not included, as far as there are any: float32 [last - first, ...]."""
        last = min(last, len(self))
        self._file = self._file or ReadAt(self.path)
        position, length = self._start + first * self._row_bytes, max(0, last - first) * self._row_bytes
        try:
            data = self._file.read(position, length)
        except EOFError as error:
            raise ValueError(f"{self.path} is truncated ({error}): delete it to make it again.") from None
        return np.frombuffer(bytearray(data), "<f4").reshape(-1, *self.shape[1:])

    def write(self, first: int, values: np.ndarray) -> None:
        """Write `values` [n, ...], as float32, from row `first` on."""
        assert first >= 0 and first + len(values) <= len(self) and values.shape[1:] == self.shape[1:]
        data = np.ascontiguousarray(values, "<f4").data.cast("B")
        handle = os.open(self.path, os.O_WRONLY)
        try:
            position = self._start + first * self._row_bytes
            while data:
                written = os.pwrite(handle, data, position)
                position, data = position + written, data[written:]
        finally:
            os.close(handle)
