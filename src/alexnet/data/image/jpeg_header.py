"""The marker segments of a JPEG file (ITU-T T.81, annex B), read before a decoder allocates memory for what they claim.

Nothing is decoded. Like libjpeg, this skips bytes between segments that belong to none.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from alexnet.data.image.bounds import MAX_SCAN_PIXELS, TooLargeError

SIGNATURE: Final = b"\xff\xd8\xff"
"""The first bytes of every JPEG file: the SOI marker, and the first byte of the next marker."""

_SOF0, _SOF1, _SOF2 = 0xC0, 0xC1, 0xC2  # baseline, extended sequential, progressive
_PROGRESSIVE: Final = {0xC2, 0xC6, 0xCA, 0xCE}
_SOFS: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # these three are DHT, JPG and DAC
_LOSSLESS_ARITHMETIC: Final = 0xCB
_HIERARCHICAL: Final = {0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF}
_LS: Final = 0xF7  # the frame header of JPEG-LS (ITU-T T.87)
_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_METADATA: Final = {*range(0xE1, 0xF0), _COM} - {0xEE}  # APP0 (JFIF) and APP14 (Adobe) decide about colours
_ALONE: Final = {0x01, *range(0xD0, 0xDA)}  # markers without a segment: TEM, RSTn, SOI, EOI

SCAN: Final = b"\xff\xda"
"""A scan begins with this marker, and hardly anything else does."""

_MARKER: Final = re.compile(rb"\xff+([\x01-\xfe])")
_MARKER_IN_SCAN: Final = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""In entropy-coded data, restart markers belong to the data, and a zero follows each other byte FF."""


class Segment(NamedTuple):
    """A marker and, unless it stands alone, its segment."""

    marker: int
    start: int
    """Offset of the marker."""
    content: int
    """Offset behind the length."""
    end: int
    """Offset behind the segment."""


class Frame(NamedTuple):
    """What the frame header (SOFn) says."""

    marker: int
    precision: int
    """Bits per sample."""
    height: int
    width: int
    components: int

    @property
    def is_progressive(self) -> bool:
        """Whether scan after scan may add to all pixels."""
        return self.marker in _PROGRESSIVE

    @property
    def can_be_scaled(self) -> bool:
        """Whether libjpeg-turbo can scale the image down while it decodes it. It never scales a lossless one."""
        return self.marker in (_SOF0, _SOF1, _SOF2) and self.precision == 8


def is_jpeg(data: bytes | bytearray | memoryview) -> bool:
    """Whether `data` begins as a JPEG file does."""
    return bytes(memoryview(data)[: len(SIGNATURE)]) == SIGNATURE


def segments(data: memoryview) -> Iterator[Segment]:
    """The segments up to EOI; a segment that is cut off by the end of the file is the last."""
    at, marker_pattern = 0, _MARKER
    while found := marker_pattern.search(data, at):
        marker, content = found[1][0], found.end()
        start = content - 2
        if marker in _ALONE:
            at = content
        else:
            length = int.from_bytes(data[content : content + 2], "big")
            content, at = content + 2, content + max(length, 2)
        yield Segment(marker, start, content, min(at, len(data)))
        if marker == _EOI:
            return
        marker_pattern = _MARKER_IN_SCAN if marker == _SOS else _MARKER


def read_frame(data: memoryview) -> Frame | None:
    """The first frame header; None if there is none before the first scan."""
    for marker, _, content, end in segments(data):
        if marker == _SOS:
            return None
        if marker in _SOFS:
            header = data[content:end]
            if len(header) < 6:
                return None
            height, width = (int.from_bytes(header[i : i + 2], "big") for i in (1, 3))
            return Frame(marker, header[0], height, width, header[5])
    return None


def undecodable_kind(data: memoryview) -> str | None:
    """What kind of JPEG the file is, if no decoder here knows that kind; None for all others, whole or damaged."""
    frame = read_frame(data)
    if frame is None:
        before_scan = itertools.takewhile(lambda segment: segment.marker != _SOS, segments(data))
        return "JPEG-LS" if any(segment.marker == _LS for segment in before_scan) else None
    if frame.precision != 8:
        return f"JPEG with {frame.precision} bits per sample"
    if frame.marker in _HIERARCHICAL:
        return "hierarchical JPEG"
    return "lossless JPEG with arithmetic coding" if frame.marker == _LOSSLESS_ARITHMETIC else None


def count_scans(data: memoryview, enough: int) -> int:
    """The number of scans, of which no more than `enough` are counted."""
    count = 0
    for segment in segments(data):
        count += segment.marker == _SOS
        if count >= enough:
            break
    return count


def check_scans(data: memoryview, frame: Frame) -> None:
    """TooLargeError for an image that takes too long to decode, since each scan goes through all pixels again."""
    first = next((data[content:end] for marker, _, content, end in segments(data) if marker == _SOS), data[:0])
    if not frame.is_progressive and len(first) and first[0] == frame.components:
        return  # all components in one scan, after which libjpeg decodes no other
    most = MAX_SCAN_PIXELS // max(1, frame.width * frame.height)
    if count_scans(data, most + 1) > most:
        size = f"{frame.width}x{frame.height}"
        raise TooLargeError(f"it has more than {most} scans of {size} pixels, which would take too long to decode")


def exif(data: memoryview) -> memoryview:
    """The content of the first EXIF segment, without its signature; empty if there is none before the first scan."""
    for marker, _, content, end in segments(data):
        if marker == 0xE1 and data[content : content + 6] == b"Exif\0\0":
            return data[content + 6 : end]
        if marker == _SOS:
            break
    return data[:0]


def without_metadata(data: memoryview) -> bytes:
    """The file without the segments before the first scan that do not decide about its pixels."""
    kept = []
    for marker, start, _, end in segments(data):
        if marker == _SOS:
            return b"".join([*kept, data[start:]])
        if marker not in _METADATA:
            kept.append(data[start:end])
    return b"".join(kept)
