"""Files in a tar archive, read where they are: nothing is unpacked, and names are never paths to write to."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from alexnet.files.printable import printable


class TarAt(NamedTuple):
    """An image of `size` bytes at byte `offset` of an uncompressed file: a tar, or a tar in a tar."""

    path: str
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        wanted = min(self.size, limit)
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(wanted)
        if len(data) < wanted:
            raise ValueError(f"{self.path} is cut off: download it again")
        return data


def members(path: Path, start: int = 0, size: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every file in a tar, or in the tar of `size` bytes at byte `start` of a file.

    Only headers are read, one after the other; offsets count from the start of the file. Hidden names are left out.
    Raises ValueError for a tar that stops before its end, and for a link or a device.
    """
    with open(path, "rb") as file:
        window = file if size is None else _Window(file, start, size)
        last_offset = -1
        try:
            # tarfile takes a damaged or truncated header for the end of the archive; so the end is checked below.
            with tarfile.open(fileobj=window, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
                while (member := archive.next()) is not None:
                    if member.size < 0 or member.offset <= last_offset:  # it would lead back, and round in circles
                        raise ValueError(f"{path} is damaged: download it again")
                    last_offset = member.offset
                    archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would grow without end
                    if not member.isreg() and not member.isdir():
                        raise ValueError(
                            f"{path} holds {printable(member.name)}, a link or device: links in archives are not "
                            "followed; pack the images themselves"
                        )
                    if member.isreg() and not member.name.rpartition("/")[2].startswith("."):
                        yield member.name.removeprefix("./"), start + member.offset_data, member.size
                window.seek(archive.offset)
                whole = window.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
        except tarfile.TarError as error:
            raise ValueError(f"{path} is damaged or cut off ({error}): download it again") from error
        if not whole:
            raise ValueError(f"{path} is damaged or cut off: download it again")


def check_end(path: Path) -> None:
    """ValueError unless a tar ends with two blocks of zeros. Far quicker than going through all its headers."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * tarfile.BLOCKSIZE))
        if file.read() != bytes(2 * tarfile.BLOCKSIZE):
            raise ValueError(f"{path} is damaged or cut off: download it again")


class _Window(io.RawIOBase):
    """`size` bytes of an open file from `start` on, as a file of its own."""

    def __init__(self, file: io.BufferedReader, start: int, size: int) -> None:
        self.file, self.start, self.size, self.position = file, start, size, 0

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
        left = max(0, self.size - self.position)
        self.file.seek(self.start + self.position)
        data = self.file.read(left if size is None or size < 0 else min(size, left))
        self.position += len(data)
        return data
