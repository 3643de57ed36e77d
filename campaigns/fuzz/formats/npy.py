"""NumPy arrays, such as the mean image of a run; one of the examples holds pickled objects."""

import io
from pathlib import Path

import numpy as np

from alexnet.files.arrays import read_array
from campaigns.fuzz.format import Format


def examples() -> list[bytes]:
    found = []
    for array in (np.zeros((16, 16, 3), np.float32), np.arange(9.0).reshape(3, 3), np.array([{}, 1], object)):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        found.append(file.getvalue())
    return found


def read(data: bytes, folder: Path) -> None:
    (folder / "mean.npy").write_bytes(data)
    assert read_array(folder / "mean.npy").dtype.kind != "O"


FORMAT = Format("npy", 4, examples, read)
