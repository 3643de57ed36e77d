"""The development kit of ILSVRC-2012: its classes, and the labels of the validation images.

The kit numbers the synsets in an order of its own (ILSVRC2012_ID), and its validation labels are such numbers.
"""

import tarfile
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.sources.matfile import read_structs

META, TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True)
class Synset:
    """A class as the kit describes it."""

    number: int
    """ILSVRC2012_ID."""
    wnid: str
    words: str
    train_images: int


def read_devkit(path: Path) -> tuple[list[Synset], list[int]]:
    """The synsets without children, sorted by wnid, and the ILSVRC2012_ID of each validation image in turn."""
    meta, truth_text = _read_files(path)
    try:
        synsets = _read_meta(meta)
        truth = [int(line) for line in truth_text.split()]
    except (ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"the development kit {path} cannot be understood ({error}): download it again") from error
    if unknown := set(truth) - {each.number for each in synsets}:
        raise ValueError(f"{path}: the validation labels name class {min(unknown)}, which {META} does not have")
    return synsets, truth


def _read_files(path: Path) -> tuple[bytes, bytes]:
    """The contents of `META` and `TRUTH`."""
    wanted = {META: b"", TRUTH: b""}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in wanted and member.isfile() and (file := archive.extractfile(member)):
                    wanted[name] = file.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged or cut off ({error}): download it again") from error
    for name, content in wanted.items():
        if not content:
            raise ValueError(
                f"{path} does not contain {name}: it is not the development kit of tasks 1 and 2; download that"
            )
    return wanted[META], wanted[TRUTH]


def _read_meta(content: bytes) -> list[Synset]:
    """The leaves of `synsets` in meta.mat, a struct array with one record per synset of the hierarchy."""
    records = read_structs(content, "synsets")
    synsets = [
        Synset(int(r["ILSVRC2012_ID"]), str(r["WNID"]), str(r["words"]), int(r["num_train_images"]))
        for r in records
        if int(r["num_children"]) == 0
    ]
    if len(synsets) < 2:
        raise ValueError("it has fewer than two classes")
    return sorted(synsets, key=lambda each: each.wnid)
