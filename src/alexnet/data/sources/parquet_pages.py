"""The pages of a Parquet file, from their headers alone: how much memory reading them takes is known beforehand.

A page of 20 kB may unpack to gigabytes, and a value of its dictionary may stand in every row. What the file's footer
says of that may be wrong; the header of a page is what pyarrow goes by.

Format: https://parquet.apache.org/docs/file-format; the structs FileMetaData and PageHeader of parquet.thrift, in
Thrift's compact protocol.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from alexnet.files.printable import printable
from alexnet.files.read_at import ReadAt

MOST_PAGE, MOST_PLAIN_PAGE = 288 << 20, 448 << 20
"""Bytes of an unpacked page; in a plain one each value stands once. Writers close a page at about 1 MB, but pyarrow
looks only after every thousand values."""
MOST_BATCH = 256 << 20
"""Bytes of the values that are read at once, where there is a choice."""
MOST_HEADER = 1 << 24
"""Bytes of the header of a page, as pyarrow limits it."""

PLAIN = 0
"""The encoding that stores every value as it is."""
BYTE_ARRAY = 6
"""The physical type of texts and bytes."""
I32, I64, BINARY, STRUCT = 5, 6, 8, 12
BOOLS, LISTS, LENGTHS = (1, 2), (9, 10), {1: 0, 2: 0, 3: 1, 7: 8}
"""Types of Thrift's compact protocol, and the bytes of those that have a fixed length."""


class Page(NamedTuple):
    """What the header of a page says."""

    unpacked: int
    packed: int
    encoding: int


class Chunk(NamedTuple):
    """What the footer says of a column in a row group: where its pages are."""

    name: str
    """As "image.bytes"."""
    kind: int
    """Its physical type."""
    start: int
    packed: int


def rows_at_once(path: Path, group: int, columns: list[str], rows: int) -> int:
    """How many of at most `rows` rows of a row group may be read at once, at least 1.

    Raises ValueError, naming the file, for a page that is too long, EOFError where the file ends early.
    """
    file = ReadAt(path)
    for chunk in _footer(path, file.identity)[group]:
        if not any(chunk.name == column or chunk.name.startswith(f"{column}.") for column in columns):
            continue
        largest = total = 0
        is_plain = True
        for page in _pages(path, file, chunk):
            most = MOST_PLAIN_PAGE if page.encoding == PLAIN else MOST_PAGE
            if page.unpacked > most:
                raise ValueError(
                    f"{path}: column {printable(chunk.name)} has a page of {page.unpacked:,} bytes, and at most "
                    f"{most:,} are read: write it again with smaller pages or row groups"
                )
            largest, total = max(largest, page.unpacked), total + page.unpacked
            is_plain = is_plain and page.encoding == PLAIN
        if chunk.kind == BYTE_ARRAY and not (is_plain and total <= MOST_BATCH):
            rows = min(rows, MOST_BATCH // max(largest, 1))
    return max(1, rows)


@lru_cache(maxsize=4)
def _footer(path: Path, _identity: tuple[int, ...]) -> list[list[Chunk]]:
    """The columns of each row group. (pyarrow tells them too, but ends the process where one is damaged.)"""
    file = ReadAt(path)
    length = int.from_bytes(file.read(file.length - 8, 4), "little")
    reader = _Thrift(file.read(max(0, file.length - 8 - length), min(length, file.length - 8)))
    try:
        for field, kind in reader.fields():
            if field == 4 and kind in LISTS:  # FileMetaData.row_groups
                return [_row_group(reader) for _ in range(reader.count(STRUCT))]
            reader.skip(kind)
    except (IndexError, UnicodeDecodeError):
        pass
    raise ValueError(f"{path} is damaged (its row groups are not described): download it again")


def _row_group(reader: "_Thrift") -> list[Chunk]:
    chunks: list[Chunk] = []
    for field, kind in reader.fields():
        if field == 1 and kind in LISTS:  # RowGroup.columns
            chunks = [_chunk(reader) for _ in range(reader.count(STRUCT))]
        else:
            reader.skip(kind)
    return chunks


def _chunk(reader: "_Thrift") -> Chunk:
    """A ColumnChunk; of its ColumnMetaData the path, the type, the compressed size, and where its pages begin."""
    names: list[str] = []
    numbers: dict[int, int] = {}
    for field, kind in reader.fields():
        if field != 3 or kind != STRUCT:  # ColumnChunk.meta_data
            reader.skip(kind)
            continue
        for inner, kind_inside in reader.fields():
            if inner == 3 and kind_inside in LISTS:  # path_in_schema
                names = [reader.text() for _ in range(reader.count(BINARY))]
            elif kind_inside in (I32, I64):
                numbers[inner] = reader.number()
            else:
                reader.skip(kind_inside)
    starts = [start for start in (numbers.get(9, 0), numbers.get(11, 0)) if start > 0]  # of values, of a dictionary
    return Chunk(".".join(names), numbers.get(1, BYTE_ARRAY), min(starts, default=0), numbers.get(7, 0))


def _pages(path: Path, file: ReadAt, chunk: Chunk) -> Iterator[Page]:
    """The pages of a column chunk."""
    position = chunk.start
    end = min(position + chunk.packed, file.length)
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

    def list_of(self) -> tuple[int, int]:
        """The type of the items of a list, and their number; each takes at least a byte."""
        head = self.byte()
        count = self.varint() if head >> 4 == 15 else head >> 4
        if count > len(self.data) - self.at:
            raise IndexError("a list is too long")
        return head & 0xF, count

    def count(self, kind: int) -> int:
        """The number of items of a list of this type."""
        found, count = self.list_of()
        if count and found != kind:
            raise IndexError("a list of another type")
        return count

    def text(self) -> str:
        length = self.varint()
        if length > len(self.data) - self.at:
            raise IndexError("a text is too long")
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def skip(self, kind: int, depth: int = 0) -> None:
        if depth > 8:
            raise IndexError("a header is nested too deep")
        if kind in LENGTHS:
            self.at += LENGTHS[kind]
        elif kind in (4, I32, I64):
            self.varint()
        elif kind == BINARY:
            length = self.varint()
            self.at += length
        elif kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in LISTS:
            inner, count = self.list_of()
            for _ in range(count):
                self.skip(3 if inner in BOOLS else inner, depth + 1)  # a truth value in a list takes a byte
        else:
            raise IndexError("an unknown type")
        if self.at > len(self.data):
            raise IndexError("it ends too early")
