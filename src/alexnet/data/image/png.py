"""The chunks of a PNG file: those that decide about its pixels, and its EXIF data.

All other chunks (text, time, colour profile, resolution, animation) are left out before a decoder sees the file,
however odd or large they are. Format: https://www.w3.org/TR/png-3/.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_BEFORE_PIXELS: Final = (b"IHDR", b"PLTE", b"tRNS")
_FRAME: Final = 12  # bytes of a chunk without its content: length, kind, checksum


class _Chunk(NamedTuple):
    kind: bytes
    content: memoryview
    checksum: bytes


def _chunks(data: memoryview) -> Iterator[_Chunk]:
    """The chunks before IEND; one that is cut off by the end of the file is the last, with what is there."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return
        end = at + 8 + length
        yield _Chunk(kind, data[at + 8 : end], bytes(data[end : end + 4]))
        at = end + 4


def without_metadata(data: memoryview) -> bytes:
    """The file with the chunks that decide about its pixels, and no others.

    Raises ValueError, with the reason as its text, where one of them is damaged or missing.
    """
    kept: dict[bytes, memoryview] = {}
    pixels: list[memoryview] = []
    for chunk in _chunks(data):
        if chunk.kind != b"IDAT" and (chunk.kind not in _BEFORE_PIXELS or pixels or chunk.kind in kept):
            continue
        name = chunk.kind.decode()
        if len(chunk.checksum) < 4:
            raise ValueError(f"truncated inside its {name} chunk")
        if zlib.crc32(chunk.content, zlib.crc32(chunk.kind)) != int.from_bytes(chunk.checksum, "big"):
            raise ValueError(f"its {name} chunk does not match its checksum")
        if chunk.kind == b"IDAT":
            pixels.append(chunk.content)
        else:
            kept[chunk.kind] = chunk.content
    if b"IHDR" not in kept or not pixels:
        raise ValueError(f"it has no {'IDAT' if b'IHDR' in kept else 'IHDR'} chunk")
    whole = [_chunk(kind, kept[kind]) for kind in _BEFORE_PIXELS if kind in kept]
    return b"".join([SIGNATURE, *whole, _chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND", b"")])


def exif(data: memoryview) -> memoryview:
    """The content of the eXIf chunk; empty if there is none."""
    return next((chunk.content for chunk in _chunks(data) if chunk.kind == b"eXIf"), data[:0])


def _chunk(kind: bytes, content: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)])
