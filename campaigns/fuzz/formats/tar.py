"""Tar files of images, as ILSVRC-2012 comes."""

import io
import tarfile
from pathlib import Path

from alexnet.data.sources import read_bytes
from alexnet.data.sources.tar import TarAt, members
from campaigns.fuzz.format import Format

BLOCK = 512  # bytes of a header; contents are padded to it
MAGIC, CHECKSUM = slice(257, 262), slice(148, 156)
MOST_MEMBERS = 10_000


def tar_of(files: dict[str, bytes], file_format: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar file of `files`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=file_format) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def examples() -> list[bytes]:
    files = {f"n0210073{n}_{n}.JPEG": bytes([n]) * 700 * n for n in range(4)}
    files |= {"x" * 150 + ".JPEG": b"long", "a/é": b"?"}
    return [tar_of(files, each) for each in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]


def repair(data: bytes) -> bytes:
    """Correct the checksums of the headers that still begin a block."""
    out = bytearray(data)
    for at in range(0, len(out) - BLOCK + 1, BLOCK):
        header = out[at : at + BLOCK]
        if header[MAGIC] == b"ustar":
            header[CHECKSUM] = b" " * 8  # counted as spaces
            header[CHECKSUM] = b"%06o\0 " % sum(header)
            out[at : at + BLOCK] = header
    return bytes(out)


def read(data: bytes, folder: Path) -> None:
    file = folder / "images.tar"
    file.write_bytes(data)
    for count, (_, offset, size) in enumerate(members(file)):
        assert count < MOST_MEMBERS
        read_bytes(TarAt(str(file), offset, size))


FORMAT = Format("tar", 10, examples, read, repair)
