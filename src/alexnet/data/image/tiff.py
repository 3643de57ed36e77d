"""The first directory of a TIFF file, or of EXIF data, which is TIFF: its entries, and what the image in it may cost.

Format: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from alexnet.data.image import jpeg_header
from alexnet.data.image.bounds import MAX_MEMORY, MAX_SCAN_PIXELS, TooLargeError

ORIENTATION: Final = 0x0112
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_LENGTH = (
    0x0100, 0x0101, 0x0102, 0x0103, 0x0115, 0x0116, 0x0142, 0x0143,
)  # fmt: skip

_COMPRESSIONS: Final = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)
"""None, CCITT (three kinds), LZW, JPEG, deflate, PackBits, deflate under its old number."""
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_NUMBERS: Final = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT and LONG


class Entry(NamedTuple):
    """An entry of a directory."""

    tag: int
    kind: int
    count: int
    number: int
    """The first value, if it is a whole number; else 0."""


def directory(data: memoryview) -> Iterator[Entry]:
    """The entries of the first directory; none for what is no TIFF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None or len(data) < 8:
        return
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return
    (entries,) = struct.unpack_from(f"{order}H", data, start)
    for at in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", data, at)
        yield Entry(tag, kind, count, _number(data, order, at + 8, kind, count))


def _number(data: memoryview, order: str, at: int, kind: int, count: int) -> int:
    code = _NUMBERS.get(kind)
    if code is None or count < 1:
        return 0
    size = _BYTES[kind]
    if size * count > 4:  # the value is elsewhere
        (at,) = struct.unpack_from(f"{order}I", data, at)
        if at + size > len(data):
            return 0
    return struct.unpack_from(f"{order}{code}", data, at)[0]


def check(data: memoryview) -> None:
    """ValueError for a TIFF file that would cost its decoder more than its pixels do."""
    entries = list(directory(data))
    if sum(_BYTES.get(each.kind, 0) * each.count for each in entries) > len(data) + MAX_MEMORY // 16:
        raise ValueError("its directory claims more than the file holds")
    first: dict[int, int] = {}
    for each in entries:
        first.setdefault(each.tag, each.number)
    if first.get(_COMPRESSION, 1) not in _COMPRESSIONS:
        raise ValueError(f"its compression, number {first[_COMPRESSION]}, is not decoded: save it as PNG")
    rows = min(first.get(_ROWS, first.get(_LENGTH, 0)), first.get(_LENGTH, 0))
    piece = max(first.get(_WIDTH, 0) * rows, first.get(_TILE_WIDTH, 0) * first.get(_TILE_LENGTH, 0))  # strip or tile
    if piece * max(8, first.get(_BITS, 1)) // 8 * max(1, first.get(_SAMPLES, 1)) > MAX_MEMORY // 2:
        raise TooLargeError(f"it claims strips or tiles of {piece:,} pixels, more than can be decoded")
    if first.get(_COMPRESSION) == 7 and piece * bytes(data).count(jpeg_header.SCAN) > MAX_SCAN_PIXELS:
        raise TooLargeError("it holds more scans than can be decoded")
