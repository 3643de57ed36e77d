"""Struct arrays of numbers and texts from MATLAB files of version 5, such as the development kit's `meta.mat`.

Safe for untrusted files: `scipy.io.loadmat` crashes the process on some damaged ones. Anything but numbers and texts
(objects, functions, cells) is skipped. Format: "MAT-File Format", The MathWorks, chapter 1.
"""

import struct
import zlib
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


LARGEST = 1 << 25
"""Bytes of all unpacked variables; those of ILSVRC-2012 have a few million."""
MOST_RECORDS, MOST_FIELDS, MOST_DIMENSIONS = 1 << 16, 16, 8
"""Of a struct array. ILSVRC-2012 has 1860 synsets with 8 fields; a record may take only 8 bytes a field in the file."""
MATRIX, COMPRESSED = 14, 15  # data types of elements
STRUCT, CHAR, NUMBERS = 2, 4, range(6, 16)  # array types of matrices
NUMPY = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


def read_structs(content: bytes, variable: str) -> list[dict[str, Any]]:
    """The records of a struct array. Each field is a text, a number, a list of numbers, or None for anything else.

    Raises ValueError with the reason where the file is damaged or does not have the variable.
    """
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise ValueError("it is not a MATLAB file of version 5")
    unpacked = 0
    for kind, data in _elements(memoryview(content)[128:], order):
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            try:
                whole = unpacker.decompress(data, max(1, LARGEST - unpacked))
            except zlib.error as error:
                raise ValueError(f"it cannot be unpacked: {error}") from None
            if not unpacker.eof:
                raise ValueError("it is cut off, or too large")
            unpacked += len(whole)
            kind, data = next(_elements(memoryview(whole), order), (0, memoryview(b"")))
        if kind == MATRIX:
            parts = _elements(data, order)
            matrix, shape, name = _head(parts, order)
            if name == variable and matrix == STRUCT:
                return list(_records(parts, prod(shape), order))
    raise ValueError(f"it has no struct array {variable}")


def _records(parts: Iterator[tuple[int, memoryview]], count: int, order: str) -> Iterator[dict[str, Any]]:
    length = _numbers(*_next(parts), order)
    names = bytes(_next(parts)[1])
    width = int(length[0]) if len(length) == 1 else 0
    if not 1 <= width <= len(names):
        raise ValueError("its fields have no names")
    if count > MOST_RECORDS or len(names) > MOST_FIELDS * width:
        raise ValueError(f"it has more than {MOST_RECORDS:,} records or {MOST_FIELDS} fields")
    fields = [names[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]
    for _ in range(count):
        yield {field: _value(*_next(parts), order) for field in fields}


def _value(kind: int, data: memoryview, order: str) -> Any:
    if kind != MATRIX:
        raise ValueError("a field holds no matrix")
    if not data:
        return []
    parts = _elements(data, order)
    matrix, _, _ = _head(parts, order)
    if matrix == CHAR:
        kind, data = next(parts, (1, memoryview(b"")))
        codec = TEXT.get(kind)
        if codec is None:
            raise ValueError(f"a text is of kind {kind}")
        return str(data, codec if codec in ("latin-1", "utf-8") else codec + ("-le" if order == "<" else "-be"))
    if matrix in NUMBERS:
        numbers = _numbers(*_next(parts), order).tolist()
        return numbers[0] if len(numbers) == 1 else numbers
    return None


def _head(parts: Iterator[tuple[int, memoryview]], order: str) -> tuple[int, list[int], str]:
    """The array type, the shape and the name of a matrix."""
    flags, shape = _numbers(*_next(parts), order), _numbers(*_next(parts), order)
    if not len(flags) or not 0 < len(shape) <= MOST_DIMENSIONS or shape.min() < 0:
        raise ValueError("a matrix has no shape")
    return int(flags[0]) & 0xFF, [int(side) for side in shape], bytes(_next(parts)[1]).decode("latin-1")


def _numbers(kind: int, data: memoryview, order: str) -> "np.ndarray":
    import numpy as np  # here, so that `alexnet --help` can list the kinds of sources without it

    if kind not in NUMPY:
        raise ValueError(f"numbers are of kind {kind}")
    dtype = np.dtype(order + NUMPY[kind])
    if len(data) % dtype.itemsize:
        raise ValueError("numbers are cut off")
    return np.frombuffer(data, dtype)


def _next(parts: Iterator[tuple[int, memoryview]]) -> tuple[int, memoryview]:
    part = next(parts, None)
    if part is None:
        raise ValueError("a matrix ends too early")
    return part


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Data type and content of one element after the other."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(order + "II", data, at)
        start, end = at + 8, at + 8 + size
        if kind >> 16:  # a small element: up to four bytes, inside the tag
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = at + 4, at + 4 + size
            if size > 4:
                raise ValueError("a small element is longer than four bytes")
        if end > len(data):
            raise ValueError("an element ends beyond the end of the file")
        yield kind, data[start:end]
        at = end if kind == COMPRESSED else -(-end // 8) * 8
