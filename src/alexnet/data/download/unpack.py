"""Unpacks an archive of images. Only plain files are written, and only below one folder."""

import gzip
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from alexnet.files.printable import printable
from alexnet.progress import Progress

MOST_FILES = 1 << 20
"""Files in an archive. Tiny ImageNet has 120,609 entries."""
LARGEST = 1 << 34
"""Bytes of all files. Imagenette at its full size has 1.6 billion."""
BLOCK = 1 << 20
"""Bytes copied at once."""


def unpack(archive: Path, folder: Path, top: str) -> None:
    """Write the files of a tar.gz or zip to `folder`. All must lie in the archive's folder `top`.

    Raises ValueError for a name that leads elsewhere, a link, a device, a file that comes twice, a damaged archive, and
    more than `MOST_FILES` or `LARGEST`.
    """
    left = LARGEST
    with Progress(f"Unpacking {archive.name}", None, "files") as progress:
        try:
            for number, (name, content) in enumerate(_files(archive)):
                parts = PurePosixPath(name).parts
                if len(parts) < 2 or parts[0] != top or ".." in parts:
                    raise ValueError(f"{archive} holds a file outside its folder {top}: {printable(name)}")
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, open(path, "xb") as out:
                    while block := content.read(BLOCK):
                        left -= len(block)
                        if left < 0 or number >= MOST_FILES:
                            raise ValueError(f"{archive} holds more than a data set: it is not unpacked")
                        out.write(block)
                progress.advance()
        except FileExistsError as error:
            raise ValueError(f"{archive} holds a file twice: {printable(str(error.filename))}") from None
        except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{archive} is damaged ({error}): delete it and download it again") from None


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file, in the archive's order. ValueError for what is no file or folder."""
    if archive.suffix == ".zip":
        with open(archive, "rb") as file, _zip(file) as opened:
            # The target of a link in a zip is its content, and becomes that of a plain file here.
            yield from (
                (info.filename, _content(opened, info)) for info in opened.infolist() if info.filename[-1:] != "/"
            )
        return
    # tarfile's own decompression ("r|gz") takes a truncated file for the end of the archive.
    with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        for member in opened:
            if member.isdir():
                continue
            content = opened.extractfile(member) if member.isreg() else None
            if content is None:
                raise ValueError(f"{archive} holds a link or a device: {printable(member.name)}")
            yield member.name, content


ODD_ZIP = (NotImplementedError, LookupError, OSError, OverflowError, RuntimeError, ValueError, struct.error)
"""What zipfile raises for damaged headers, beside BadZipFile."""


def _zip(file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except ODD_ZIP as error:
        raise zipfile.BadZipFile(str(error)) from None


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """What a file holds. BadZipFile where it is packed as no data set is."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("its files are packed in an unusual way")
    try:
        return opened.open(info)
    except ODD_ZIP as error:
        raise zipfile.BadZipFile(str(error)) from None
