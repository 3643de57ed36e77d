"""The pages of a Parquet file, from their headers alone: how much memory reading them takes is known beforehand.

A page of 20 kB may unpack to gigabytes, and a value of its dictionary may stand in every row. What the file's footer
says of that may be wrong; the header of a page is what pyarrow goes by. Format: https://parquet.apache.org/docs/file-format,
the struct PageHeader of parquet.thrift in Thrift's compact protocol.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alexnet.files.read_at import ReadAt

MOST_PAGE = 320 << 20
"""Bytes of an unpacked page. Writers close a page at about 1 MB, after the value or some hundred values at hand."""
MOST_BATCH = 256 << 20
"""Bytes of the values that are read at once, where there is a choice."""
MOST_HEADER = 1 << 24
"""Bytes of the header of a page, as pyarrow limits it."""

PLAIN = 0
"""The encoding that stores every value as it is."""
I32, BINARY, STRUCT = 5, 8, 12
LISTS, LENGTHS = (9, 10), {1: 0, 2: 0, 3: 1, 7: 8}
"""Types of Thrift's compact protocol, and the bytes of those that have a fixed length."""


class Page(NamedTuple):
    """What the header of a page says."""

    unpacked: int
    packed: int
    encoding: int


def rows_at_once(path: Path, group: Any, columns: list[str], rows: int) -> int:
    """How many of at most `rows` rows of a row group may be read at once, at least 1.

    `group` is the row group's metadata. Raises ValueError, naming the file, for a page of more than `MOST_PAGE` bytes.
    """
    file = ReadAt(path)
    for index in range(group.num_columns):
        chunk = group.column(index)
        name = chunk.path_in_schema
        if not any(name == column or name.startswith(f"{column}.") for column in columns):
            continue
        largest = total = 0
        is_plain = True
        for page in _pages(path, file, chunk):
            if page.unpacked > MOST_PAGE:
                raise ValueError(
                    f"{path}: column {name} has a page of {page.unpacked:,} bytes, and at most {MOST_PAGE:,} are read: "
                    "write it again with smaller pages"
                )
            largest, total = max(largest, page.unpacked), total + page.unpacked
            is_plain = is_plain and page.encoding == PLAIN
        if chunk.physical_type == "BYTE_ARRAY" and not (is_plain and total <= MOST_BATCH):
            rows = min(rows, MOST_BATCH // max(largest, 1))
    return max(1, rows)


def _pages(path: Path, file: ReadAt, chunk: Any) -> Iterator[Page]:
    """The pages of a column chunk."""
    starts = [start for start in (chunk.dictionary_page_offset, chunk.data_page_offset) if start]
    position = min(starts, default=0)
    end = min(position + chunk.total_compressed_size, file.length)
    while 0 < position < end:
        page, length = _header(path, file, position, end)
        yield page
        position += length + page.packed


def _header(path: Path, file: ReadAt, position: int, end: int) -> tuple[Page, int]:
    """The page header at a position, and its length."""
    size = 1 << 10
    while True:
        data = file.read(position, min(size, end - position))
        try:
            reader = _Thrift(data)
            page = _page(reader)
        except IndexError:
            if size >= min(MOST_HEADER, end - position):
                break
            size <<= 7
            continue
        if page.unpacked < 0 or page.packed < 0:
            break
        return page, reader.at
    raise ValueError(f"{path} is damaged (a page has no header): download it again")


def _page(reader: "_Thrift") -> Page:
    unpacked = packed = -1
    encoding = PLAIN
    for field, kind in reader.fields():
        if field == 2:
            unpacked = reader.number()
        elif field == 3:
            packed = reader.number()
        elif field in (5, 8) and kind == STRUCT:  # a page of values: which encoding they have
            wanted = 2 if field == 5 else 4
            for inner, kind_inside in reader.fields():
                if inner == wanted:
                    encoding = reader.number()
                else:
                    reader.skip(kind_inside)
        elif field == 7:
            encoding = -1  # a dictionary, of which any row may hold any value
            reader.skip(kind)
        else:
            reader.skip(kind)
    return Page(unpacked, packed, encoding)


class _Thrift:
    """Reads Thrift's compact protocol. IndexError where the data end too early, or make no sense."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise IndexError("a number is too long")

    def number(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct. The caller reads its value."""
        field = 0
        while head := self.byte():
            field = field + (head >> 4) if head >> 4 else self.number()
            yield field, head & 0xF

    def skip(self, kind: int, depth: int = 0) -> None:
        if depth > 8:
            raise IndexError("a header is nested too deep")
        if kind in LENGTHS:
            self.at += LENGTHS[kind]
        elif kind in (4, I32, 6):
            self.varint()
        elif kind == BINARY:
            length = self.varint()
            self.at += length
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in LISTS:
            head = self.byte()
            count = self.varint() if head >> 4 == 15 else head >> 4
            for _ in range(count):
                self.skip(head & 0xF, depth + 1)
                if self.at > len(self.data):
                    raise IndexError("a list is too long")
        else:
            raise IndexError("an unknown type")
        if self.at > len(self.data):
            raise IndexError("it ends too early")
