"""`alexnet download`: fetch a public data set, compare its checksum, unpack it."""

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from alexnet.data.download.archives import ARCHIVES, Archive
from alexnet.data.download.fetch import fetch
from alexnet.data.download.unpack import unpack
from alexnet.files import durable, lock
from alexnet.files.checksums import checksum
from alexnet.files.folders import check_folder
from alexnet.progress import Progress
from alexnet.ranges import UsageError


def download(
    name: str, folder: Path = Path("data"), *, url: str | None = None, archives: Mapping[str, Archive] = ARCHIVES
) -> dict[str, Any]:
    """Make the folder of the data set `name` in `folder`. `url` is another address of the same archive.

    The data set's folder appears when it is whole; one that is there is left as it is. An archive that was put into
    `folder` by hand is taken, and stays. Raises ValueError with what is wrong; this and KeyboardInterrupt leave what
    was received, and the same call resumes.

    Returns `name`, `folder` (of the data set), `url`, `bytes` and `sha256` of the archive, `downloaded` (False where
    the folder or the archive was there), and `next`, the command that prepares a store.
    """
    archive = archives[name]
    address = url or archive.address
    if not address.startswith(("https://", "http://")):
        raise UsageError(f"{address} is no address to download from: it begins with neither https:// nor http://")
    out, by_hand = folder / archive.folder, folder / archive.file
    downloaded = False
    if not out.is_dir():
        check_folder(out)
        try:
            with lock.hold(folder / f"{durable.NEW}{archive.folder}", "download"):
                downloaded = _make(archive, address, out, by_hand)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command resumes it") from None
        except OSError as error:
            if durable.is_full(error):
                raise ValueError(f"The disk of {folder} is full: make room; the same command resumes.") from None
            raise
    return {
        "name": name,
        "folder": str(out),
        "url": address,
        "bytes": archive.length,
        "sha256": archive.sha256,
        "downloaded": downloaded,
        "next": shlex.join(["alexnet", "prepare", str(out), f"stores/{name}", "--size", str(archive.size)]),
    }


def _make(archive: Archive, address: str, out: Path, by_hand: Path) -> bool:
    """Make the folder `out` from an archive. Returns whether it was downloaded, and not put there by hand."""
    work = out.with_name(f"{durable.NEW}{archive.folder}")
    unpacked = work / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # of an interrupted call
    is_there = by_hand.is_file()
    file = by_hand if is_there else work / archive.file
    if not is_there:
        _receive(archive, address, file, by_hand)
    elif (length := file.stat().st_size) != archive.length:  # a checksum of hundreds of gigabytes takes minutes
        raise ValueError(f"{file} is another file than {archive.address} ({length:,} bytes): delete it")
    if (found := checksum(file)) != archive.sha256:
        if is_there:
            raise ValueError(f"{file} is another file than {archive.address} (SHA-256 {found}): delete it")
        file.unlink()
        raise ValueError(f"{address} is not what it should be (SHA-256 {found}, not {archive.sha256}): it was deleted")
    unpack(file, unpacked, archive.folder)
    os.sync()  # one call for all files: a hundred thousand of them would take minutes one by one
    (unpacked / archive.folder).rename(out)
    durable.sync(out.parent)
    shutil.rmtree(unpacked)
    for part in work.iterdir():  # the lock then deletes its folder, which is empty
        part.unlink()
    return not is_there


def _receive(archive: Archive, address: str, file: Path, by_hand: Path) -> None:
    have = file.stat().st_size if file.exists() else 0
    needed, free = 2 * archive.length - have, shutil.disk_usage(file.parent).free  # archive and images
    if needed > free:
        raise ValueError(
            f"{archive.folder} needs about {needed / 1e9:.1f} GB, and the disk of {file.parent.parent} has "
            f"{free / 1e9:.1f} GB free: make room, or choose another folder"
        )
    with Progress(f"Downloading {archive.file}", archive.length // 1000, "kB", start=have // 1000) as progress:
        received = have

        def advance(count: int) -> None:
            nonlocal received
            received += count
            progress.advance(received // 1000 - progress.done)

        try:
            fetch(address, file, archive.length, advance)
        except ValueError as error:
            raise ValueError(
                f"{error}. You can also download it by other means: save it as {by_hand} and repeat the command."
            ) from None


def render(result: dict[str, Any]) -> RenderableType:
    """Where the data set is, and what comes next, for a terminal."""
    made = "" if result["downloaded"] else " was there already"
    return Group(Text(f"{result['folder']}{made}", style="bold"), Text(f"Next: {result['next']}"))
