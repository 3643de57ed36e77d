"""Files of activations: `.npy`, `.npz` and `.h5`, made from one array per layer on disk, a block at a time.

All three begin as arrays of rows (`alexnet.files.rows`) that several processes may write, beside the file that is
wanted. At the end they are renamed (`.npy`) or copied into one file, which takes its name when it is whole.
"""

import importlib.util
import json
import math
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.files import durable
from alexnet.files.rows import RowFile, make_rows
from alexnet.ranges import UsageError

ENDINGS = (".npy", ".npz", ".h5", ".hdf5")
BLOCK = 1 << 25
"""Bytes that are copied at a time."""
CHUNK = 1 << 20
"""Bytes of a chunk in HDF5, which reads whole chunks; a row that is larger is a chunk."""


def check_ending(out: Path) -> None:
    """UsageError for a name with another ending, ValueError for `.h5` without h5py."""
    if out.suffix not in ENDINGS:
        raise UsageError(f"{out} must end in .npy, .npz or .h5.")
    if out.suffix in (".h5", ".hdf5") and importlib.util.find_spec("h5py") is None:
        raise ValueError(f"{out} needs h5py: pip install 'alexnet[hdf5]', or give a name that ends in .npz.")


def names_of(out: Path, layers: Sequence[str]) -> dict[str, Path]:
    """The file of each layer: OUT, or, where several layers are to be `.npy`, `OUT.conv5.npy`, `OUT.fc7.npy` ..."""
    several = out.suffix == ".npy" and len(layers) > 1
    return {name: out.with_suffix(f".{name}.npy") if several else out for name in layers}


def check_room(out: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ValueError where the disk has no room for all arrays, twice for those that are copied into one file."""
    needed = 4 * sum(map(math.prod, shapes.values())) * (1 if out.suffix == ".npy" else 2)
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise ValueError(
            f"{out} would take {needed / 1e9:.1f} GB while it is written, and its disk has {free / 1e9:.1f} GB free: "
            "choose fewer layers, fewer images or another disk."
        )


def finish(
    out: Path, arrays: Mapping[str, RowFile], keys: Sequence[str], wnids: Sequence[str], left_out: set[int], about: Any
) -> None:
    """Make OUT of `arrays`, by layer, without the rows `left_out`.

    `keys` and `wnids` (empty: unknown) name the remaining rows, and `about` is what `.h5` holds as its description; in
    `.npy` there is no room for them. Files that became `.npy` are gone.
    """
    if out.suffix == ".npy":
        for name, file in names_of(out, list(arrays)).items():
            if left_out:
                _drop_rows(arrays[name], left_out)
            durable.put(arrays[name].path, file)
        return
    shapes = {name: (len(keys), *array.shape[1:]) for name, array in arrays.items()}
    texts = {name: texts for name, texts in (("keys", keys), ("wnids", wnids)) if texts}
    with durable.whole(out) as partial:
        if out.suffix == ".npz":
            _write_npz(partial, arrays, shapes, texts, left_out)
        else:
            _write_h5(partial, arrays, shapes, texts, left_out, about)


def blocks(array: RowFile, left_out: set[int]) -> Iterator[np.ndarray]:
    """The rows of an array in order, but for those `left_out`, some `BLOCK` bytes at a time: float32 [n, ...]."""
    rows = max(1, BLOCK // max(1, 4 * math.prod(array.shape[1:])))
    for first in range(0, len(array), rows):
        block = array.read(first, first + rows)
        kept = [row for row in range(len(block)) if first + row not in left_out]
        yield block if len(kept) == len(block) else block[kept]


def _drop_rows(array: RowFile, left_out: set[int]) -> None:
    """Replace an array by a copy without the rows `left_out`."""
    part = array.path
    fewer = part.with_name(f"{part.name}-fewer")
    try:
        make_rows(fewer, (len(array) - len(left_out), *array.shape[1:]))
        copy, first = RowFile(fewer), 0
        for block in blocks(array, left_out):
            copy.write(first, block)
            first += len(block)
        fewer.replace(part)
    finally:
        fewer.unlink(missing_ok=True)


def _write_npz(
    path: Path,
    arrays: Mapping[str, RowFile],
    shapes: Mapping[str, tuple[int, ...]],
    texts: Mapping[str, Sequence[str]],
    left_out: set[int],
) -> None:
    """An uncompressed archive, as `numpy.savez` writes it: an array for each layer, and the texts."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                header = {"descr": "<f4", "fortran_order": False, "shape": shapes[name]}
                np.lib.format.write_array_header_1_0(entry, header)
                for block in blocks(array, left_out):
                    entry.write(np.ascontiguousarray(block, "<f4").data.cast("B"))
        for name, lines in texts.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.array(lines, np.str_), allow_pickle=False)


def _write_h5(
    path: Path,
    arrays: Mapping[str, RowFile],
    shapes: Mapping[str, tuple[int, ...]],
    texts: Mapping[str, Sequence[str]],
    left_out: set[int],
    about: Any,
) -> None:
    """HDF5: a dataset for each layer, chunked by rows, and for the texts, and the attribute `description` (JSON)."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["description"] = json.dumps(about)
        for name, array in arrays.items():
            shape = shapes[name]
            rows = min(shape[0], max(1, CHUNK // (4 * math.prod(shape[1:]))))
            dataset = file.create_dataset(name, shape, "<f4", chunks=(rows, *shape[1:]))
            first = 0
            for block in blocks(array, left_out):
                dataset[first : first + len(block)] = block
                first += len(block)
        for name, lines in texts.items():
            file.create_dataset(name, data=list(lines), dtype=h5py.string_dtype())
