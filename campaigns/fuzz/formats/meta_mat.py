"""The MATLAB file of ILSVRC-2012's development kit, which names the classes."""

import gzip
import io
from pathlib import Path

import numpy as np
from scipy.io import savemat

from alexnet.data.sources.devkit import read_devkit
from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.tar import tar_of

FIELDS = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]


def examples() -> list[bytes]:
    synsets = np.zeros((4, 1), dtype=[(name, object) for name in FIELDS])
    for row in range(4):
        synsets[row, 0] = (row + 1, f"n0000000{row}", f"word {row}", "what", int(row == 3), [1, 2], 0, 1300)
    found = []
    for compressed in (True, False):
        file = io.BytesIO()
        savemat(file, {"synsets": synsets}, do_compression=compressed)
        found.append(file.getvalue())
    return found


def read(data: bytes, folder: Path) -> None:
    kit = {"data/meta.mat": data, "data/ILSVRC2012_validation_ground_truth.txt": b"1\n2\n"}
    file = folder / "devkit.tar.gz"
    file.write_bytes(gzip.compress(tar_of(kit), 1))
    read_devkit(file)


FORMAT = Format("meta.mat", 8, examples, read)
