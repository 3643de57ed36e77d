"""What `alexnet similar` and `alexnet explore` keep in a run: rows of activations, and what excites each unit."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch

from alexnet.config import NetworkConfig
from alexnet.explore.units import Units
from alexnet.files.rows import RowFile, make_rows
from alexnet.model.layers import layers_of
from alexnet.study.index import nearest
from campaigns.fuzz.format import Format

ROWS, WIDTH, CLASSES = 6, 5, 3
NETWORK = NetworkConfig(input_size=63, width=1 / 24, classes=CLASSES)


def new_units() -> Units:
    return Units(layers_of(NETWORK), CLASSES, {"weights": "x"})


@cache
def examples() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        rows, units, file = Path(name) / "rows", Path(name) / "units", new_units()
        make_rows(rows, (ROWS, WIDTH))
        RowFile(rows).write(0, np.arange(ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH))
        random = np.random.default_rng(0)
        for layer in file.layers:
            values = random.standard_normal((ROWS, len(file.layers[layer].active)), np.float32)
            file.layers[layer].add(0, values, np.zeros(values.shape, np.int64), np.arange(ROWS) % CLASSES)
        file.done = ROWS
        file.save(units)
        return [rows.read_bytes(), units.read_bytes()]


def read(data: bytes, folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(data)
    if data.startswith(b"\x93"):
        nearest(RowFile(file), torch.zeros(1, WIDTH), 2)
        return
    units = new_units()
    if not units.load(file, ROWS):
        raise ValueError("it is made again")
    assert 0 <= units.done <= ROWS
    for layer in units.layers.values():
        assert layer.image.max() < ROWS and layer.counts.min() >= 0


FORMAT = Format("index", 3, examples, read)
