"""Arrays from `.npy` files that nobody vouches for."""

import io
import math
from pathlib import Path

import numpy as np


def read_array(file: Path) -> np.ndarray:
    """The array in `file`. Nothing in it is unpickled: an array of objects is refused.

    Raises ValueError with the reason where it is no whole array, OSError where it cannot be read (FileNotFoundError
    where there is none).
    """
    # Read and not mapped: a map whose file is cut short ends the process (SIGBUS).
    data = file.read_bytes()
    try:
        header = io.BytesIO(data)
        version = np.lib.format.read_magic(header)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(header)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        # A header that claims more than the file has is found before any memory is asked for.
        array = np.frombuffer(data, dtype, math.prod(shape), header.tell())
        return array.reshape(shape, order="F" if fortran_order else "C").copy()
    except Exception as error:  # numpy raises whatever it stumbles over in a damaged header
        raise ValueError(" ".join(str(error).split())) from None
