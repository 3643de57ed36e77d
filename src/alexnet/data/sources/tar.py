"""Files in a tar archive, read where they are: nothing is unpacked, and names are never paths to write to."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from alexnet.files.printable import printable
from alexnet.files.regular import open_regular

MOST_HEADER = 1 << 18
"""Bytes that the headers of one member may take: long names, records of pax, maps of holes."""


class TarAt(NamedTuple):
    """An image of `size` bytes at byte `offset` of an uncompressed file: a tar, or a tar in a tar."""

    path: str
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        wanted = min(self.size, limit)
        with open_regular(self.path) as file:
            file.seek(self.offset)
            data = file.read(wanted)
        if len(data) < wanted:
            raise ValueError(f"{self.path} is cut off: download it again")
        return data


def members(path: Path, start: int = 0, size: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every file in a tar, or in the tar of `size` bytes at byte `start` of a file.

    Only headers are read, one after the other; offsets count from the start of the file. Hidden names are left out.
    Raises ValueError for a tar that stops before its end, for a link, a device or a file with holes, and for a header
    of more than `MOST_HEADER` bytes.
    """
    with io.BufferedReader(open_regular(path)) as file:
        yield from members_of(file, path, start, size)


def members_of(file: BinaryIO, path: Path, start: int = 0, size: int | None = None) -> Iterator[tuple[str, int, int]]:
    """`members` of an open file, which messages call `path`."""
    window = _Window(file, start, file.seek(0, os.SEEK_END) - start if size is None else size)
    last_offset = -1
    try:
        # tarfile takes a damaged or truncated header for the end of the archive; so the end is checked below.
        with tarfile.open(fileobj=window, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
            while (member := archive.next()) is not None:
                if member.size < 0 or member.offset <= last_offset:  # it would lead back, and round in circles
                    raise ValueError(f"{path} is damaged: download it again")
                last_offset = member.offset
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would grow without end
                archive.pax_headers = {}  # so would this
                window.left = MOST_HEADER
                _check_kind(member, path)
                if member.isreg() and not member.name.rpartition("/")[2].startswith("."):
                    yield member.name.removeprefix("./"), start + member.offset_data, member.size
            window.seek(archive.offset)
            whole = window.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
    except (tarfile.TarError, _HeaderError, RecursionError) as error:
        reason = "its headers are nested" if isinstance(error, RecursionError) else error
        raise ValueError(f"{path} is damaged or cut off ({reason}): download it again") from error
    if not whole:
        raise ValueError(f"{path} is damaged or cut off: download it again")


def _check_kind(member: tarfile.TarInfo, path: Path) -> None:
    """ValueError for all but files and folders. A file with holes is not in one piece."""
    if member.issparse():
        raise ValueError(f"{path} holds {printable(member.name)}, a file with holes: pack it without --sparse")
    if not member.isreg() and not member.isdir():
        raise ValueError(
            f"{path} holds {printable(member.name)}, a link or device: links in archives are not followed; pack the "
            "images themselves"
        )


def check_end(path: Path) -> None:
    """ValueError unless a tar ends with two blocks of zeros. Far quicker than going through all its headers."""
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise ValueError(f"{path} is damaged or cut off: download it again")


class _HeaderError(Exception):
    """The header of a member is too long."""


class _Window(io.RawIOBase):
    """`size` bytes of an open file from `start` on, as a file of its own, of which `left` more may be read."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file, self.start, self.size, self.position = file, start, size, 0
        self.left = MOST_HEADER

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        return self.position

    def read(self, size: int | None = -1) -> bytes:
        to_end = max(0, self.size - self.position)
        wanted = to_end if size is None or size < 0 else min(size, to_end)
        if wanted > self.left:
            raise _HeaderError(f"a header of more than {MOST_HEADER >> 10} KiB")
        self.left -= wanted
        self.file.seek(self.start + self.position)
        data = self.file.read(wanted)
        self.position += len(data)
        return data
