"""Arrays from `.npy` files that nobody vouches for."""

from pathlib import Path

import numpy as np


def read_array(file: Path) -> np.ndarray:
    """The array in `file`. Nothing in it is unpickled: an array of objects is refused.

    Raises ValueError with the reason where it is no whole array, FileNotFoundError where there is none.
    """
    if not file.exists():
        raise FileNotFoundError(2, "No such file or directory", str(file))
    try:
        # Mapped first: a header that claims more than the file has is found before any memory is asked for.
        mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.memmap):
            raise ValueError("it holds more than one array")
        return np.array(mapped)
    except Exception as error:  # numpy raises whatever it stumbles over in a damaged header
        raise ValueError(" ".join(str(error).split())) from None
