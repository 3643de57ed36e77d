"""PNG: every colour type, with and without transparency."""

import struct
import zlib

from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.images import encoded_image, read_image

SIGNATURE = 8  # bytes before the first chunk
FRAME = 12  # bytes of a chunk without its data: length, name, checksum


def examples() -> list[bytes]:
    modes = ("RGB", "RGBA", "L", "P", "I;16", "1")
    return [encoded_image("PNG", mode=mode) for mode in modes] + [encoded_image("PNG", mode="P", transparency=3)]


def repair(data: bytes) -> bytes:
    """Correct the CRC of every chunk that can be found."""
    out, at = bytearray(data), SIGNATURE
    while at + FRAME <= len(out):
        end = at + 8 + struct.unpack_from(">I", out, at)[0]
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


FORMAT = Format("png", 25, examples, read_image, repair)
