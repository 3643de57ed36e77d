"""JPEG: baseline, progressive, grey, CMYK, rotated by EXIF, with restart markers."""

from typing import Any

from campaigns.fuzz.format import Format
from campaigns.fuzz.formats.images import encoded_image, read_image

ROTATED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def examples() -> list[bytes]:
    options: list[dict[str, Any]] = [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"exif": ROTATED},
        {"restart_marker_blocks": 1},
    ]
    small = [encoded_image("JPEG", (40, 30), mode, **each) for mode in ("RGB", "L", "CMYK") for each in options]
    return [*small, encoded_image("JPEG", (150, 140))]


FORMAT = Format("jpeg", 25, examples, read_image)
