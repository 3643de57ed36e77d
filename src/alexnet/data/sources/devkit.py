"""The development kit of ILSVRC-2012: its classes, and the labels of the validation images.

The kit numbers the synsets in an order of its own (ILSVRC2012_ID), and its validation labels are such numbers.
"""

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path

from alexnet.data.sources.matfile import read_structs
from alexnet.data.sources.tar import members_of
from alexnet.files.printable import printable
from alexnet.files.regular import open_regular
from alexnet.files.text import decode_text

LARGEST = 1 << 26
"""Bytes of the unpacked kit; that of ILSVRC-2012 has a few million."""
LARGEST_TRUTH = 1 << 22
"""Bytes of the validation labels; those of ILSVRC-2012 have 200,000."""
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
        truth = [int(line) for line in decode_text(truth_text).split()]
    except KeyError as error:
        raise ValueError(
            f"the development kit {path} cannot be understood (it has no field {error}): download it again"
        ) from None
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"the development kit {path} cannot be understood ({error}): download it again") from error
    if unknown := set(truth) - {each.number for each in synsets}:
        raise ValueError(f"{path}: the validation labels name class {min(unknown)}, which {META} does not have")
    return synsets, truth


def _read_files(path: Path) -> tuple[bytes, bytes]:
    """The contents of `META` and `TRUTH`."""
    wanted = {META: b"", TRUTH: b""}
    try:
        with open_regular(path) as file, gzip.GzipFile(fileobj=file) as packed:
            kit = packed.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or cut off ({error}): download it again") from error
    if len(kit) > LARGEST:
        raise ValueError(f"{path} unpacks to more than {LARGEST >> 20} MiB: it is not the development kit")
    for member, offset, size in members_of(io.BytesIO(kit), path):
        if (name := member.rpartition("/")[2]) in wanted:
            wanted[name] = kit[offset : offset + size]
    for name, content in wanted.items():
        if not content:
            raise ValueError(
                f"{path} does not contain {name}: it is not the development kit of tasks 1 and 2; download that"
            )
    if len(wanted[TRUTH]) > LARGEST_TRUTH:
        raise ValueError(f"{path}: {TRUTH} has more than {LARGEST_TRUTH >> 20} MiB: it is not that of the kit")
    return wanted[META], wanted[TRUTH]


def _read_meta(content: bytes) -> list[Synset]:
    """The leaves of `synsets` in meta.mat, a struct array with one record per synset of the hierarchy."""
    records = read_structs(content, "synsets")
    synsets = [
        Synset(
            int(r["ILSVRC2012_ID"]), printable(str(r["WNID"])), printable(str(r["words"])), int(r["num_train_images"])
        )
        for r in records
        if int(r["num_children"]) == 0
    ]
    if len(synsets) < 2:
        raise ValueError("it has fewer than two classes")
    return sorted(synsets, key=lambda each: each.wnid)
