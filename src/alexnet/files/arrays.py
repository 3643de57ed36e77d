"""Reads arrays from untrusted `.npy` files."""

import io
import math
from pathlib import Path

import numpy as np

from alexnet.files.regular import read_regular

LARGEST = 1 << 28
"""Bytes of a file. The mean image of the largest store (4096 pixels) takes 201 million."""


def read_array(file: Path) -> np.ndarray:
    """The array in `file`. Nothing is unpickled: an array of objects is refused.

    Raises ValueError with the reason where it is not a whole array, OSError where it cannot be read (FileNotFoundError
    where it does not exist).
    """
    # Read and not mapped: the system ends a process (SIGBUS) whose mapped file is truncated.
    data = read_regular(file, LARGEST)
    try:
        header = io.BytesIO(data)
        version = np.lib.format.read_magic(header)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(header)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        # A header that claims more than the file holds is refused before any memory is allocated for it.
        array = np.frombuffer(data, dtype, math.prod(shape), header.tell())
        return array.reshape(shape, order="F" if fortran_order else "C").copy()
    except MemoryError:
        raise
    except Exception as error:  # NumPy raises nearly anything for a damaged header
        raise ValueError(" ".join(str(error).split())) from None
