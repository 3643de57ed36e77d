"""The sizes of AV1 images are read from their own headers, in files of Pillow's and in files made to mislead."""

import io
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from alexnet.data.image import avif, bounds
from alexnet.data.image.avif import UnreadableError
from alexnet.data.image.decode import decode

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
Field = tuple[int, int]
"""A number, and how many bits it takes."""


def saved(size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 90).save(file, "AVIF", **options)
    return file.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def packed(*fields: Field) -> bytes:
    """Bits, and zeros up to whole bytes, and some."""
    text = "".join(f"{value:0{count}b}" for value, count in fields if count)
    length = (len(text) + 7) // 8 + 4
    return int(text.ljust(8 * length, "0"), 2).to_bytes(length, "big")


def obu(kind: int, content: bytes) -> bytes:
    return bytes([kind << 3 | 2, len(content)]) + content


def still(width: int, height: int) -> bytes:
    """The sequence header of a still image."""
    return obu(1, packed((0, 3), (1, 1), (1, 1), (0, 5), (15, 4), (15, 4), (width - 1, 16), (height - 1, 16)))


def moving(width: int, height: int, timed: bool = False) -> bytes:
    """The full sequence header, with frame numbers of 5 bits, and perhaps with everything about time."""
    time: list[Field] = [(1, 1), (0, 64), (0, 1), (1, 1), (3, 5), (0, 32), (0, 5), (6, 5)] if timed else [(0, 1)]
    points: list[Field] = [(1, 1), (0, 5), (0, 12), (9, 5), (0, 1)] + ([(1, 1), (0, 9)] if timed else [])
    points += [(1, 1), (7, 4)]
    size: list[Field] = [(11, 4), (10, 4), (width - 1, 12), (height - 1, 11)]
    rest: list[Field] = [(1, 1), (2, 4), (0, 3), (0, 3), (0, 4), (1, 1), (0, 2), (1, 1), (1, 1)]
    return obu(1, packed((0, 3), (0, 1), (0, 1), *time, *points, *size, *rest))


def frame(own_size: bool, timed: bool = False) -> bytes:
    """The header of a key frame that is shown."""
    time: list[Field] = [(0, 7)] if timed else []
    return obu(6, packed((0, 1), (0, 2), (1, 1), *time, (0, 1), (1, 1), (0, 1), (17, 5), (own_size, 1)))


def file_of(*payloads: bytes, kind: bytes = b"av01", times: int = 1, extents: int = 1) -> bytes:
    """An AVIF file that says no size of the images `payloads`, each listed `times` times."""
    head = box(b"ftyp", b"avif" + bytes(4) + b"avifmif1")
    start, entries = 4096, b""
    for number, payload in enumerate(payloads, 1):
        part = len(payload) // extents
        pieces = [(start + i * part, part if i + 1 < extents else len(payload) - i * part) for i in range(extents)]
        entries += struct.pack(">HHH", number, 0, extents) + b"".join(struct.pack(">II", *each) for each in pieces)
        start += len(payload)
    iloc = box(b"iloc", bytes(4) + b"\x44\0" + struct.pack(">H", len(payloads) * times) + entries * times)
    items = b"".join(box(b"infe", b"\2\0\0\0" + struct.pack(">HH", n + 1, 0) + kind) for n in range(len(payloads)))
    iinf = box(b"iinf", bytes(4) + struct.pack(">H", len(payloads)) + items)
    return (head + box(b"meta", bytes(4) + iinf + iloc)).ljust(4096, b"\0")[:4096] + b"".join(payloads)


def sizes(data: bytes) -> list[tuple[int, int]]:
    return avif.sizes(memoryview(data))


@needs_avif
@pytest.mark.parametrize(("mode", "images"), [("RGB", 1), ("L", 1), ("RGBA", 2)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_sizes_of_pillows_files(mode: str, images: int, subsampling: str) -> None:
    for size in ((40, 30), (1, 1), (333, 64)):
        data = saved(size, mode, subsampling=subsampling, speed=10)
        assert sizes(data) == [size] * images
        assert decode(data).shape == (*size[::-1], 3)


@needs_avif
def test_a_file_that_says_less_than_its_image_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved((100, 60))
    smaller = data.replace(struct.pack(">II", 100, 60), struct.pack(">II", 10, 6))
    assert smaller != data
    monkeypatch.setattr(bounds, "MAX_MEMORY", 16 * 5999)
    with pytest.raises(bounds.TooLargeError, match="it claims 100x60 pixels, more than the 5,999 that are decoded"):
        decode(smaller)


@needs_avif
def test_of_65536_pixels_a_side_nothing_is_decoded() -> None:
    with pytest.raises(bounds.TooLargeError, match="it claims 65536x65536 pixels"):
        decode(file_of(still(65536, 65536)))


def test_sizes_of_all_kinds_of_headers() -> None:
    assert sizes(file_of(still(300, 200))) == [(300, 200)]
    assert sizes(file_of(still(300, 200), still(30, 20))) == [(300, 200), (30, 20)]
    assert sizes(file_of(still(300, 200) + obu(4, bytes(9)), extents=3)) == [(300, 200)]
    assert sizes(file_of(still(9, 8) + still(65536, 9))) == [(9, 8), (65536, 9)]
    for timed in (False, True):
        assert sizes(file_of(moving(1025, 2048, timed) + frame(False, timed))) == [(1025, 2048)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (file_of(moving(640, 480) + frame(True)), "a frame has another size than its image"),
        (file_of(moving(640, 480, True) + frame(True, True)), "a frame has another size than its image"),
        (file_of(still(9, 9), kind=b"hvc1"), "it holds 0 AV1 images"),
        (file_of(*[still(9, 9)] * 5), "it holds 5 AV1 images, and at most 4 are decoded"),
        (file_of(still(9, 9), times=2), "an image is listed twice"),
        (file_of(obu(2, b"")), "an image has no header"),
        (file_of(still(9, 9) + obu(5, b"") * 70), "an image has very many parts"),
        (file_of(obu(1, b"\x18")), "a header of an image is cut off"),
        (file_of(still(9, 9)) + box(b"moov", b""), "it holds no single image"),
        (box(b"ftyp", b"avif"), "it holds no single image"),
        (file_of(still(9, 9))[:30] + b"\xff" * 99, "a box ends beyond the end"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, reason: str) -> None:
    if reason == "it holds no single image" and b"meta" in data:  # after the padding of the images, which is no box
        data = data[: data.index(b"meta") - 4] + box(b"moov", b"") + data[data.index(b"meta") - 4 :]
    with pytest.raises(UnreadableError, match=reason):
        sizes(data)


def test_pieces_that_take_no_byte_in_their_list_are_counted() -> None:
    item = box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 1, 0) + b"av01")
    iinf = box(b"iinf", bytes(4) + struct.pack(">H", 1) + item)
    for pieces, reason in ((avif.MAX_EXTENTS // 2, "an image is nowhere"), (65_535, "more than 1024 pieces")):
        entries = b"".join(struct.pack(">HHH", number, 0, pieces) for number in (2, 3))
        iloc = box(b"iloc", bytes(4) + b"\0\0" + struct.pack(">H", 2) + entries)
        with pytest.raises(UnreadableError, match=reason):
            sizes(box(b"ftyp", b"avif") + box(b"meta", bytes(4) + iinf + iloc))


@needs_avif
def test_moving_images_are_refused_with_a_sentence(tmp_path: Path) -> None:
    data = saved(save_all=True, append_images=[Image.new("RGB", (40, 30), 9)])
    with pytest.raises(ValueError, match="it is AVIF of a kind that is not decoded here"):
        decode(data)
