"""JPEG and PNG files written byte by byte, for what Pillow does not write."""

import struct
import zlib

import numpy as np


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg_frame(marker: int, height: int, width: int, components: int, precision: int = 8) -> bytes:
    """A frame header: SOF0 to SOF15 by `marker`; no subsampling, all components with quantisation table 0."""
    listed = b"".join(bytes([i + 1, 0x11, 0]) for i in range(components))
    return jpeg_segment(marker, struct.pack(">BHHB", precision, height, width, components) + listed)


def lossless_jpeg(height: int, width: int) -> bytes:
    """All samples 128: each is predicted by the one before, and every difference is the one-bit code of 0."""
    table = jpeg_segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    scan = jpeg_segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 1, 0, 0]))
    data = bytes(-(-height * width * 3 // 8))
    return b"\xff\xd8" + jpeg_frame(0xC3, height, width, 3) + table + scan + data + b"\xff\xd9"


def jpeg_with_huffman_codes(counts: list[int]) -> bytes:
    """Black, 8 x 16 pixels: all four tables have `counts` codes of each length, whose symbols are 0, 1, ..."""
    symbols = bytes(range(sum(counts)))
    listed = bytes(counts).ljust(16, b"\0") + symbols
    tables = b"".join(jpeg_segment(0xC4, bytes([kind]) + listed) for kind in (0x00, 0x10))
    quantisation = jpeg_segment(0xDB, b"\0" + bytes([1] * 64))
    scan = jpeg_segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
    shortest = next(length for length, count in enumerate(counts, 1) if count)
    data = bytes(-(-12 * shortest // 8))  # two blocks of each component, in each the code of 0 for DC and for AC
    return b"\xff\xd8" + quantisation + jpeg_frame(0xC0, 8, 16, 3) + tables + scan + data + b"\xff\xd9"


def jpeg_of_many_scans(height: int, width: int, scans: int) -> bytes:
    """A progressive grey JPEG: one scan for DC, the others each for one AC coefficient, all of them 0."""
    blocks = -(-height // 8) * -(-width // 8)
    runs = "".join("0" + f"{min(32767, blocks - first) - 16384:014b}" for first in range(0, blocks - 16383, 32767))
    bits = runs + "1" * (-len(runs) % 8)
    zeros = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    out = [b"\xff\xd8", jpeg_segment(0xDB, b"\0" + bytes([1] * 64)), jpeg_frame(0xC2, height, width, 1)]
    out += [
        jpeg_segment(0xC4, kind + bytes([1] + [0] * 15) + symbol)
        for kind, symbol in ((b"\0", b"\0"), (b"\x10", b"\xe0"))
    ]
    out += [jpeg_segment(0xDA, bytes([1, 1, 0, 0, 0, 0])), bytes(-(-blocks // 8))]
    for scan in range(scans - 1):
        coefficient = 1 + scan % 63
        out += [jpeg_segment(0xDA, bytes([1, 1, 0, coefficient, coefficient, 0])), zeros]
    return b"".join([*out, b"\xff\xd9"])


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png_header(height: int, width: int, bits: int, colour: int) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def png(samples: np.ndarray, bits: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """`samples`, [height, width] or [height, width, 3], with `bits` each; other chunks before and after the pixels."""
    height, width = samples.shape[:2]
    rows = []
    for row in samples.reshape(height, -1).tolist():
        packed = "".join(f"{sample:0{bits}b}" for sample in row)
        packed += "0" * (-len(packed) % 8)
        rows.append(b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big"))
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(rows)))
    header = png_header(height, width, bits, 0 if samples.ndim == 2 else 2)
    return PNG_SIGNATURE + header + before + pixels + after + png_chunk(b"IEND", b"")
