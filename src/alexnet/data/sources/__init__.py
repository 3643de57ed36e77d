"""Any supported source of labelled images, told apart by what lies in the folder.

- the three archives of ILSVRC-2012 as published: `ilsvrc.py`
- Kaggle's ILSVRC folder: `kaggle.py`
- Parquet files as the Hugging Face hub ships ImageNet: `parquet.py`
- everything else is a folder of class folders, with or without splits: `folders.py`
"""

import os
from pathlib import Path

from alexnet.data.sources.folders import open_folder
from alexnet.data.sources.ilsvrc import is_ilsvrc, open_ilsvrc
from alexnet.data.sources.kaggle import find_kaggle, open_kaggle
from alexnet.data.sources.parquet import find_parquet, open_parquet, read_row
from alexnet.data.sources.source import FileAt, LabelledImage, ParquetAt, Source, Split, TarAt

__all__ = ["FileAt", "LabelledImage", "ParquetAt", "Source", "Split", "TarAt", "open_source", "read_bytes"]

LARGEST_IMAGE = 1 << 28
"""Bytes; a file beyond is no image, and reading it would take the memory that many images share."""


def open_source(path: Path, val_fraction: float | None = None, seed: int = 0) -> Source:
    """The images at `path`.

    `val_fraction` of every class, drawn with `seed`, becomes the validation split where the source has none
    (0 for no such split; when None, 0.1 for folders of class folders). Raises ValueError with what is wrong
    with `path` and what to do.
    """
    path = Path(path)
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise ValueError(f"the fraction for validation must be at least 0 and below 1, not {val_fraction}")
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if not path.is_dir():
        raise ValueError(
            f"{path} is a file: images are taken from a folder, so unpack it, or give the folder it lies in"
        )
    if is_ilsvrc(path):
        source = open_ilsvrc(path, val_fraction, seed)
    elif images := find_kaggle(path):
        source = open_kaggle(path, images)
    elif files := find_parquet(path):
        source = open_parquet(path, files, val_fraction, seed)
    else:
        source = open_folder(path, val_fraction, seed)
    for name, split in source.splits.items():
        if next(iter(split), None) is None:
            raise ValueError(f"the {name} split of {path} holds no images")
    return source


def read_bytes(location: FileAt | TarAt | ParquetAt) -> bytes:
    """The encoded image, as it lies there. Raises ValueError with the reason where it cannot be read."""
    try:
        match location:
            case FileAt(path):
                with open(path, "rb") as file:
                    # Python makes room for all that is asked for, and 256 MiB take longer than the image.
                    data = file.read(min(os.fstat(file.fileno()).st_size, LARGEST_IMAGE) + 1)
            case TarAt(path, offset, size):
                with open(path, "rb") as file:
                    file.seek(offset)
                    data = file.read(min(size, LARGEST_IMAGE + 1))
                if len(data) < min(size, LARGEST_IMAGE + 1):
                    raise ValueError(f"{path} is cut off: download it again")
            case ParquetAt():
                data = read_row(location)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_IMAGE:
        raise ValueError(f"larger than {LARGEST_IMAGE >> 20} MiB: no image")
    return data
