"""The size that the AV1 images of an AVIF file have by themselves, whatever the file around them says.

Memory for an AV1 image is asked for by its own headers, before its container's size is compared with it. So these
headers are read first. Formats: ISO/IEC 23008-12 (boxes `iinf` and `iloc`), and the AV1 bitstream specification,
sections 5.3 (OBUs), 5.5 (sequence header) and 5.9 (frame header).
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_IMAGES: Final = 4
"""AV1 images in a file: colours and opacity, and perhaps a thumbnail."""
MAX_OBUS: Final = 64
"""Of one image: a sequence header and a frame, and perhaps tile groups and metadata."""
MAX_EXTENTS: Final = 1024
"""Pieces of all items together, metadata included. Each may take no byte in the list, so that a few bytes may claim
millions."""
SEQUENCE, FRAME_HEADER, FRAME = 1, 3, 6  # types of OBUs
KEY, SWITCH = 0, 3  # types of frames
SELECT = 2  # a tool that each frame chooses


class UnreadableError(ValueError):
    """The headers make no sense, or are of a kind that is not read."""


def sizes(data: memoryview) -> list[tuple[int, int]]:
    """Width and height of each AV1 image. Raises UnreadableError for what a decoder might read otherwise than this."""
    meta = [content for kind, content in _boxes(data) if kind == b"meta"]
    if len(meta) != 1 or any(kind == b"moov" for kind, _ in _boxes(data)):
        raise UnreadableError("it holds no single image")
    boxes = list(_boxes(meta[0][4:]))
    found = {kind: [content for each, content in boxes if each == kind] for kind in (b"iinf", b"iloc", b"idat")}
    if len(found[b"iinf"]) != 1 or len(found[b"iloc"]) != 1 or len(found[b"idat"]) > 1:
        raise UnreadableError("its images are listed twice")
    coded = _coded_items(found[b"iinf"][0])
    if not 0 < len(coded) <= MAX_IMAGES:
        raise UnreadableError(f"it holds {len(coded)} AV1 images, and at most {MAX_IMAGES} are decoded")
    inside = found[b"idat"][0] if found[b"idat"] else memoryview(b"")
    return [size for payload in _payloads(found[b"iloc"][0], coded, data, inside) for size in _sizes_of(payload)]


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Type and content of one box after the other."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = len(data) if size == 0 else at + size
        if not start <= end <= len(data):
            raise UnreadableError("a box ends beyond the end of the file")
        yield kind, data[start:end]
        at = end


class _Bytes:
    """Big-endian numbers, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> memoryview:
        if self.at + count > len(self.data):
            raise UnreadableError("a list of images is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")


def _coded_items(content: memoryview) -> set[int]:
    """The items of `iinf` that are AV1 images."""
    listed = _Bytes(content)
    version = listed.number(4) >> 24
    listed.number(2 if version == 0 else 4)
    seen: set[int] = set()
    coded: set[int] = set()
    for kind, entry in _boxes(content[listed.at :]):
        item = _Bytes(entry)
        version = item.number(4) >> 24
        if kind != b"infe" or version not in (2, 3):
            raise UnreadableError("an item has no type")
        number = item.number(2 if version == 2 else 4)
        item.number(2)
        if number in seen:
            raise UnreadableError("an item is listed twice")
        seen.add(number)
        if bytes(item.take(4)) == b"av01":
            coded.add(number)
    return coded


def _payloads(content: memoryview, coded: set[int], data: memoryview, inside: memoryview) -> Iterator[memoryview]:
    """The data of each of the items `coded`, by `iloc`; `inside` is what `idat` holds."""
    listed = _Bytes(content)
    version = listed.number(4) >> 24
    widths = listed.number(2)
    offset_bytes, length_bytes, base_bytes = widths >> 12, widths >> 8 & 0xF, widths >> 4 & 0xF
    index_bytes = widths & 0xF if version else 0
    seen: set[int] = set()
    extents_left = MAX_EXTENTS
    for _ in range(listed.number(4 if version == 2 else 2)):
        number = listed.number(4 if version == 2 else 2)
        method = listed.number(2) & 0xF if version else 0
        listed.number(2)
        base = listed.number(base_bytes)
        parts = []
        extents = listed.number(2)
        extents_left -= extents
        if extents_left < 0:
            raise UnreadableError(f"its items are in more than {MAX_EXTENTS} pieces")
        for _ in range(extents):
            listed.number(index_bytes)
            start, length = base + listed.number(offset_bytes), listed.number(length_bytes)
            source = inside if method == 1 else data
            parts.append(source[start : start + length] if length else source[start:])
        if number in seen or (number in coded and (method > 1 or sum(map(len, parts)) > len(data))):
            raise UnreadableError("an image is listed twice, or is not in the file")
        seen.add(number)
        if number in coded:
            yield parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
    if not coded <= seen:
        raise UnreadableError("an image is nowhere")


class _Bits:
    """Bits, the most significant first."""

    def __init__(self, data: memoryview) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def __call__(self, count: int = 1) -> int:
        if count > self.left:
            raise UnreadableError("a header of an image is cut off")
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)


class _Sequence(NamedTuple):
    """What a sequence header says, as far as it decides on the size of frames."""

    width: int
    height: int
    is_still: bool
    """Whether frames have no header that could give another size."""
    time_bits: int
    """Of the time in the header of a shown frame."""
    number_bits: int
    """Of the number of a frame."""
    screen_content: int
    integer_motion: int


def _sizes_of(payload: memoryview) -> Iterator[tuple[int, int]]:
    """The size that each sequence header of an image gives. UnreadableError where a frame has another."""
    at, sequence = 0, None
    for _ in range(MAX_OBUS):
        if at >= len(payload):
            break
        kind, start, at = _obu(payload, at)
        bits = _Bits(payload[start : min(at, start + 512)])
        if kind == SEQUENCE:
            sequence = _sequence(bits)
            yield sequence.width, sequence.height
        elif kind in (FRAME_HEADER, FRAME) and sequence and not sequence.is_still and _has_own_size(bits, sequence):
            raise UnreadableError("a frame has another size than its image")
    else:
        raise UnreadableError("an image has very many parts")
    if sequence is None:
        raise UnreadableError("an image has no header")


def _obu(data: memoryview, at: int) -> tuple[int, int, int]:
    """The type of the OBU at byte `at`, where its content starts, and where it ends."""
    head = data[at]
    at += 2 if head & 4 else 1  # with an extension
    if not head & 2:
        return head >> 3 & 0xF, at, len(data)
    size = 0
    for i in range(8):
        if at >= len(data):
            raise UnreadableError("an image is cut off")
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            break
    return head >> 3 & 0xF, at, min(at + size, len(data))


def _sequence(bits: _Bits) -> _Sequence:
    bits(3)  # seq_profile
    bits()  # still_picture
    is_still = bool(bits())  # reduced_still_picture_header
    time_bits = 0
    if is_still:
        bits(5)
    else:
        time_bits = _timing_and_operating_points(bits)
    width_bits, height_bits = bits(4) + 1, bits(4) + 1
    width, height = bits(width_bits) + 1, bits(height_bits) + 1
    if is_still:
        return _Sequence(width, height, True, 0, 0, SELECT, SELECT)
    number_bits = bits(4) + bits(3) + 3 if bits() else 0
    bits(3 + 4)  # superblocks and filters; compound, warped and other predictions
    order_hint = bits()
    if order_hint:
        bits(2)
    screen_content = SELECT if bits() else bits()
    integer_motion = SELECT
    if screen_content:
        integer_motion = SELECT if bits() else bits()
    return _Sequence(width, height, False, time_bits, number_bits, screen_content, integer_motion)


def _timing_and_operating_points(bits: _Bits) -> int:
    """Bits of the time in the header of a shown frame."""
    delay_bits = time_bits = 0
    if bits():  # timing_info_present_flag
        bits(64)
        equal = bits()
        if equal:
            zeros = 0
            while not bits():
                zeros += 1
            bits(min(zeros, 32))
        if bits():  # decoder_model_info_present_flag
            delay_bits = bits(5) + 1
            bits(32 + 5)
            time_bits = bits(5) + 1
            time_bits = 0 if equal else time_bits
    has_display_delay = bits()
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits()
        if delay_bits and bits():
            bits(2 * delay_bits + 1)
        if has_display_delay and bits():
            bits(4)
    return time_bits


def _has_own_size(bits: _Bits, sequence: _Sequence) -> bool:
    """Whether the header of a frame gives it another size than its sequence's (frame_size_override_flag)."""
    if bits():  # show_existing_frame
        return False
    kind, shown = bits(2), bits()
    if shown:
        bits(sequence.time_bits)
    else:
        bits()
    if kind == SWITCH:
        return True
    if not (kind == KEY and shown):
        bits()  # error_resilient_mode
    bits()  # disable_cdf_update
    screen_content = bits() if sequence.screen_content == SELECT else sequence.screen_content
    if screen_content and sequence.integer_motion == SELECT:
        bits()
    bits(sequence.number_bits)
    return bool(bits())
