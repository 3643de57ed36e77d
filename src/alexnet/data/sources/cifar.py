"""CIFAR-10 and CIFAR-100 as their author publishes them: the binary files, or those for Python, in the archive or not.

    cifar-10-batches-bin/     data_batch_1.bin ... test_batch.bin, batches.meta.txt
    cifar-100-binary/         train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt
    cifar-10-batches-py/      data_batch_1 ... test_batch, batches.meta
    cifar-100-python/         train, test, meta

An image is 3072 bytes: 32 rows of 32 for red, then for green and for blue. The files for Python are pickles, which are
read without executing them (`pickled.py`). The test images are the validation split, unless `--val-fraction` holds out
some of the training images; then they are the split `test`.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.data.sources.pickled import Bytes, unpickled
from alexnet.data.sources.records import Record, one_line, open_records
from alexnet.data.sources.source import Choices, Source, SourceKind, contents_of
from alexnet.data.sources.tar import members_of
from alexnet.files.printable import printable
from alexnet.files.regular import open_regular, read_regular
from alexnet.files.text import decode_text
from alexnet.ranges import UsageError

SIDE, PIXELS = 32, 3072
LARGEST = 1 << 29
"""Bytes of a file, and of an unpacked archive. CIFAR's archives unpack to 186 million."""
LARGEST_NAMES = 1 << 20
"""Bytes of a file of names of classes."""
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


class Kind(NamedTuple):
    """One of the four layouts."""

    splits: dict[str, tuple[str, ...]]
    """The files of each split."""
    names: dict[str, str]
    """The file of the names of the classes, for each kind of label (`fine` and `coarse`); or the key in `meta`."""
    labels: tuple[str, ...]
    """The labels of an image, in the order of the binary files."""
    meta: str
    """The pickle with the names; empty for the binary layouts."""


KINDS = {
    "CIFAR-10, binary": Kind(
        {"train": tuple(f"{name}.bin" for name in BATCHES), "test": ("test_batch.bin",)},
        {"fine": "batches.meta.txt"},
        ("fine",),
        "",
    ),
    "CIFAR-100, binary": Kind(
        {"train": ("train.bin",), "test": ("test.bin",)},
        {"fine": "fine_label_names.txt", "coarse": "coarse_label_names.txt"},
        ("coarse", "fine"),
        "",
    ),
    "CIFAR-10, Python": Kind(
        {"train": BATCHES, "test": ("test_batch",)}, {"fine": "label_names"}, ("fine",), "batches.meta"
    ),
    "CIFAR-100, Python": Kind(
        {"train": ("train",), "test": ("test",)},
        {"fine": "fine_label_names", "coarse": "coarse_label_names"},
        ("coarse", "fine"),
        "meta",
    ),
}
KEYS = {"fine": ("labels", "fine_labels"), "coarse": ("coarse_labels",)}
"""Where the labels are in a pickle."""
FOLDERS = ("", "cifar-10-batches-bin", "cifar-100-binary", "cifar-10-batches-py", "cifar-100-python")
ARCHIVES = tuple(f"cifar-{classes}-{form}.tar.gz" for classes in (10, 100) for form in ("binary", "python"))


class Found(NamedTuple):
    """The files of a layout: a folder with them, or an archive."""

    kind: Kind
    path: Path


class PixelsAt(NamedTuple):
    """An image as its pixels: they are few enough to be handed from process to process."""

    pixels: bytes

    def read(self, limit: int) -> bytes:
        """The image as BMP, which holds the same pixels: rows from the bottom, each blue, green, red."""
        del limit
        plane = SIDE * SIDE
        red, green, blue = (self.pixels[at * plane : (at + 1) * plane] for at in range(3))
        mixed = bytearray(PIXELS)
        mixed[0::3], mixed[1::3], mixed[2::3] = blue, green, red
        rows = [mixed[at : at + 3 * SIDE] for at in range(0, PIXELS, 3 * SIDE)]
        header = struct.pack("<2sIHHI", b"BM", 54 + PIXELS, 0, 0, 54)
        shape = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 24, 0, PIXELS, 0, 0, 0, 0)
        return header + shape + b"".join(reversed(rows))


def detect(path: Path) -> Found | None:
    """A layout in a folder, in a folder of its usual name there, or in an archive of its usual name."""
    if path.is_file():
        return _archive(path) if path.name in ARCHIVES else None
    for inside in FOLDERS:
        for kind in KINDS.values():
            needed = (*kind.splits["train"], kind.meta or next(iter(kind.names.values())))
            if all((path / inside / name).is_file() for name in needed):
                return Found(kind, path / inside)
    archive = next((path / name for name in ARCHIVES if (path / name).is_file()), None)
    return _archive(archive) if archive else None


def open_cifar(path: Path, found: Found, choices: Choices) -> Source:
    """The images in a folder or archive. `--label-column coarse` takes the 20 coarse classes of CIFAR-100."""
    kind = found.kind
    wanted = choices.label_column or "fine"
    if wanted not in kind.names or choices.image_column:
        raise UsageError(
            f"{path} has the labels {' and '.join(kind.names)}: choose with --label-column, without --image-column"
        )
    in_archive = found.path.is_file()
    read = _unpacked(found.path).__getitem__ if in_archive else partial(_read_file, found.path)
    names = _names(found, wanted, read)
    there = {
        split: files
        for split, files in kind.splits.items()
        if split == "train" or in_archive or all((found.path / file).is_file() for file in files)
    }

    def records() -> Iterator[Record]:
        files = _unpacked(found.path).__getitem__ if in_archive else read
        for split, batches in there.items():
            for file in batches:
                yield from _images(found.path / file, _content(files, found, file), kind, wanted, names, split)

    used = [found.path] if in_archive else [found.path / file for files in there.values() for file in files]
    return open_records(
        KIND.name, path, records, choices, classes=names, find_contents=lambda count: contents_of(used, count)
    )


KIND = SourceKind(
    "cifar",
    "CIFAR-10 or CIFAR-100, the binary files or those for Python, unpacked or as cifar-10-python.tar.gz",
    detect=detect,
    open=open_cifar,
    has_columns=True,
)


def _archive(path: Path) -> Found:
    title = f"CIFAR-{100 if '-100-' in path.name else 10}, {'binary' if 'binary' in path.name else 'Python'}"
    return Found(KINDS[title], path)


def _unpacked(path: Path) -> dict[str, bytes]:
    """The files of an archive by their names, without folders. Raises ValueError, naming it, where it is damaged."""
    try:
        with open_regular(path) as file, gzip.GzipFile(fileobj=file) as packed:
            data = packed.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or cut off ({error}): download it again") from error
    if len(data) > LARGEST:
        raise ValueError(f"{path} unpacks to more than {LARGEST >> 20} MiB: it is not that of CIFAR")
    view = memoryview(data)
    return {
        name.rpartition("/")[2]: view[at : at + size]  # type: ignore[misc]  # no second copy
        for name, at, size in members_of(io.BytesIO(data), path)
    }


def _read_file(folder: Path, name: str) -> bytes:
    try:
        return read_regular(folder / name, LARGEST)
    except OSError as error:
        raise ValueError(f"{folder / name} cannot be read: {error.strerror or error}") from None


def _content(read: Callable[[str], bytes], found: Found, file: str) -> bytes:
    try:
        return read(file)
    except KeyError:
        raise ValueError(f"{found.path} does not contain {file}: download it again") from None


def _names(found: Found, wanted: str, read: Callable[[str], bytes]) -> tuple[str, ...]:
    """The names of the classes, in the order of their numbers."""
    kind = found.kind
    file = kind.meta or kind.names[wanted]
    data = bytes(_content(read, found, file))
    where = found.path / file
    if len(data) > LARGEST_NAMES:
        raise ValueError(f"{where} has more than {LARGEST_NAMES >> 10} KiB: it does not name the classes")
    names: Any
    if kind.meta:
        names = _unpickled(where, data).get(kind.names[wanted])
    else:
        try:
            names = [line for line in decode_text(data).split("\n") if line.strip()]
        except UnicodeDecodeError:
            raise ValueError(f"{where} is no text: download it again") from None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"{where} has no list of the names of the classes: download it again")
    plain = tuple(one_line(name) for name in names)
    if len(set(plain)) < len(plain) or len(plain) > 256:
        raise ValueError(f"{where} names a class twice, or more than 256: download it again")
    return plain


def _images(file: Path, data: bytes, kind: Kind, wanted: str, names: tuple[str, ...], split: str) -> Iterator[Record]:
    """The images of one file."""
    batch = _pickled_batch(file, data, wanted) if kind.meta else _binary_batch(file, data, kind, wanted)
    for row, (label, pixels, name) in enumerate(batch):
        if not 0 <= label < len(names):
            raise ValueError(f"{file}, image {row}: label {label} is not one of the {len(names)} classes")
        yield Record(f"{file.name}/{row:05}" + (f"/{name}" if name else ""), names[label], PixelsAt(pixels), split)


def _binary_batch(file: Path, data: bytes, kind: Kind, wanted: str) -> Iterator[tuple[int, bytes, str]]:
    """Label, pixels and no name of each image."""
    length = len(kind.labels) + PIXELS
    if not data or len(data) % length:
        raise ValueError(f"{file} has {len(data):,} bytes, no multiple of {length}: download it again")
    for at in range(0, len(data), length):
        yield data[at + kind.labels.index(wanted)], bytes(data[at + length - PIXELS : at + length]), ""


def _pickled_batch(file: Path, data: bytes, wanted: str) -> Iterator[tuple[int, bytes, str]]:
    """Label, pixels and name of each image."""
    batch = _unpickled(file, data)
    images = batch.get("data")
    labels = next((batch[key] for key in KEYS[wanted] if key in batch), None)
    if not isinstance(images, Bytes) or images.shape[1:] != (PIXELS,):
        raise ValueError(f"{file} has no array of images of {PIXELS} bytes each: download it again")
    count = images.shape[0]
    if not isinstance(labels, list) or len(labels) != count or not all(type(label) is int for label in labels):
        raise ValueError(f"{file} does not have a label for each of its {count:,} images: download it again")
    found = batch.get("filenames")
    names = found if isinstance(found, list) and len(found) == count else [""] * count
    for row, (label, name) in enumerate(zip(labels, names, strict=True)):
        shown = printable(name[:100]) if isinstance(name, str) else ""
        yield label, images.data[row * PIXELS : (row + 1) * PIXELS], shown


def _unpickled(file: Path, data: bytes) -> dict[str, Any]:
    """The dictionary in a pickle, whose keys are texts of Python 2 or bytes of Python 3."""
    try:
        found = unpickled(bytes(data))
    except ValueError as error:
        raise ValueError(f"{file} is not a file of CIFAR ({error}): download it again") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is not a file of CIFAR (it holds no dictionary): download it again")
    return {str(_text(key)): _text(value) for key, value in found.items()}


def _text(value: Any) -> Any:
    """Bytes as text, also in a list."""
    if isinstance(value, list) and any(isinstance(each, bytes) for each in value):
        return [_text(each) for each in value]
    return value.decode("latin-1") if isinstance(value, bytes) else value
