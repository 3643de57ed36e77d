"""CIFAR's files: a pickle or binary file of images, in a folder and in the archive."""

import gzip
import pickle
import pickletools
import random
from pathlib import Path

import numpy as np

from alexnet.data.sources import cifar, open_source, read_bytes
from alexnet.files.printable import printable
from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.tar import tar_of

ROWS = 3
META = pickle.dumps({"label_names": ["a", "b", "c"]}, 2)
LAYOUTS = ("python", "binary", "names", "meta", "archive")
"""By the first byte of an input: what the rest of it becomes."""


def batch(number: int, protocol: int) -> bytes:
    """The images of one of CIFAR-10's files for Python."""
    pixels = np.full((ROWS, cifar.PIXELS), number, np.uint8)
    names = [f"{number}_{row}.png" for row in range(ROWS)]
    return pickle.dumps({"data": pixels, "labels": [n % 3 for n in range(ROWS)], "filenames": names}, protocol)


def binary(number: int) -> bytes:
    return b"".join(bytes([row % 3]) + bytes([number]) * cifar.PIXELS for row in range(ROWS))


def archive() -> bytes:
    files = {f"cifar/{name}": binary(number) for number, name in enumerate((*cifar.BATCHES, "test_batch"))}
    return tar_of({f"{name}.bin": data for name, data in files.items()} | {"cifar/batches.meta.txt": b"a\nb\nc\n"})


def examples() -> list[bytes]:
    pickles = [b"\0" + batch(0, protocol) for protocol in (0, 2, 4)]
    return [*pickles, b"\1" + binary(0), b"\2a\nb\nc\n", b"\3" + META, b"\4" + archive()]


def make(rng: random.Random) -> bytes:
    """Half of the inputs: a pickle of random instructions, each of them whole, so that more of them are followed."""
    if rng.random() < 0.5:
        return rng.choice(examples())
    whole = batch(0, rng.choice((0, 1, 2, 3, 4)))
    starts = [at for _, _, at in pickletools.genops(whole) if at is not None]
    parts = [whole[a:b] for a, b in zip(starts, [*starts[1:], len(whole)], strict=True)]
    for _ in range(rng.choice((1, 2, 4))):
        at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(4):
            case 0:
                parts[at], parts[other] = parts[other], parts[at]
            case 1:
                del parts[at]
            case 2:
                parts.insert(at, parts[other])
            case 3:
                parts[at] = rng.choice((b"(", b"}", b"]", b")", b"h\0", b"q\0", b"t", b"u", b"e", b"R", b"b", b"\x93"))
        if not parts:
            break
    return b"\0" + b"".join(parts)


def read(data: bytes, folder: Path) -> None:
    layout, content = LAYOUTS[data[0] % len(LAYOUTS)] if data else "names", data[1:]
    root = folder / layout
    root.mkdir(exist_ok=True)
    if layout == "archive":
        (root / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(content, 1))
    elif layout in ("python", "meta"):
        for number, name in enumerate((*cifar.BATCHES, "test_batch")):
            (root / name).write_bytes(batch(number, 2))
        (root / "batches.meta").write_bytes(META)
        (root / ("batches.meta" if layout == "meta" else "data_batch_1")).write_bytes(content)
    else:
        for number, name in enumerate((*cifar.BATCHES, "test_batch")):
            (root / f"{name}.bin").write_bytes(binary(number))
        (root / "batches.meta.txt").write_bytes(b"a\nb\nc\n")
        (root / ("batches.meta.txt" if layout == "names" else "data_batch_1.bin")).write_bytes(content)
    source = open_source(root)
    for images in source.splits.values():
        for image in images:
            assert printable(image.key) == image.key and 0 <= image.label < len(source.classes)
            read_bytes(image.location)


FORMAT = Format("cifar", 4, examples, read, make=make)
