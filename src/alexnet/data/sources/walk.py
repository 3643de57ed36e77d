"""The one walker over folders of images: what `prepare`, `predict`, `features` and `similar` take of a folder.

Every file counts as an image, whatever it is called, except hidden ones (a name that begins with a dot), what operating
systems, synchronisation and notebooks leave behind, and notes: files that are text by their name and no image by their
content, as well as videos, archives and the like. Links are followed, except one that leads back to a folder that
contains it.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from alexnet.data.sources.names import some
from alexnet.files.printable import printable
from alexnet.files.regular import open_regular

SYSTEM_FOLDERS = {
    *("__macosx", "@eadir", "#recycle", "@recycle", "lost+found", "$recycle.bin", "system volume information"),
    "__pycache__",
}
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
NOTES = {
    "readme",
    "license",
    "licence",
    "copying",
    "copyright",
    "changelog",
    "authors",
    "citation",
    "notes",
}
NOTE_ENDINGS = {
    *(".txt", ".md", ".rst", ".rtf", ".pdf", ".doc", ".docx", ".odt", ".tex", ".bib", ".log", ".html", ".htm", ".url"),
    *(".csv", ".tsv", ".xls", ".xlsx", ".ods", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg"),
    *(".py", ".ipynb", ".m", ".r", ".sh", ".bat", ".mat", ".db", ".sqlite", ".md5", ".sha256", ".sha1"),
}
OTHER_ENDINGS = {
    *(".mp4", ".mov", ".m4v", ".avi", ".mkv", ".wmv", ".webm", ".mpg", ".mpeg", ".3gp", ".mts"),
    *(".mp3", ".m4a", ".wav", ".aae", ".xmp", ".thm"),  # beside photographs: sound, edits, previews of videos
    *(".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst"),
    *(".npy", ".npz", ".pkl", ".pt", ".pth", ".h5", ".safetensors", ".ppt", ".pptx"),
}
"""Names that are compared without capitals."""

NAMED = ("notes", "other", "stray")
"""Kinds of files that a person may have meant for images."""
MOST_NAMED = 5
"""Files that do not count, named in a message."""


class LeftOut(Counter[str]):
    """How many files, and folders with all in them, do not count: `hidden`, `system`, `notes`, `other`, `stray`."""

    def __init__(self) -> None:
        super().__init__()
        self.named: list[str] = []
        """The first names of the kinds `NAMED`."""

    def note(self, kind: str, name: str) -> None:
        """Count the file or folder called `name`."""
        self[kind] += 1
        if kind in NAMED:
            self._name([name])

    def include(self, other: "LeftOut") -> None:
        """Count all that `other` has counted."""
        self.update(other)
        self._name(other.named)

    def in_words(self) -> str:
        """The names that are kept: "labels.csv (twice), README.md and 4 more"; empty where there are none."""
        more = sum(self[kind] for kind in NAMED) - len(self.named)
        times = {1: "", 2: " (twice)"}
        names = sorted(Counter(self.named).items())
        listed = ", ".join(name + times.get(count, f" ({count} times)") for name, count in names)
        return listed + (f" and {more:,} more" if more else "")

    def _name(self, names: list[str]) -> None:
        self.named += [printable(name) for name in names[: MOST_NAMED - len(self.named)]]


class Survey(NamedTuple):
    """What a walk through a folder has found."""

    images: int
    left_out: LeftOut
    digest: bytes
    """SHA-256 of the names and lengths of the images."""


def files_below(folder: Path, left_out: LeftOut | None = None) -> Iterator[str]:
    """All images below a folder, as paths relative to it, sorted folder by folder; `left_out` counts all others."""
    return (name for name, _ in _walk(str(folder), "", _above(folder), LeftOut() if left_out is None else left_out))


def survey(folder: Path) -> Survey:
    """Count the images below a folder, and what is left out."""
    images, left_out, digest = 0, LeftOut(), hashlib.sha256()
    for name, entry in _walk(str(folder), "", _above(folder), left_out):
        images += 1
        digest.update(f"{printable(name)}\0{_length(entry)}\n".encode())
    return Survey(images, left_out, digest.digest())


def subfolders(folder: Path, left_out: LeftOut | None = None) -> dict[str, Path]:
    """The folders in a folder, sorted: name to path. `left_out` counts all else that is in it.

    ValueError for two whose names look the same.
    """
    counts = LeftOut() if left_out is None else left_out
    names = []
    for entry in _listed(str(folder)):
        kind = _left_out_as(entry)
        if kind is None and _is_folder(entry):
            names.append(entry.name)
        else:
            counts.note(kind or "stray", entry.name)
    folders = {printable(name): folder / name for name in sorted(names, key=printable)}
    if len(folders) < len(names):
        twice = some(name for name in folders if sum(printable(other) == name for other in names) > 1)
        raise ValueError(f"{folder} holds two folders that are both written {twice}: rename one of them")
    if alike := look_alikes(folders, folders):
        raise ValueError(f"{folder} holds two folders that look alike but are written {alike}: rename or merge them")
    return folders


def look_alikes(names: dict[str, Path], others: dict[str, Path]) -> str | None:
    """Two different names that look alike, in words: Unicode has two ways to write a letter with an accent."""
    seen = {normalize("NFC", name): name for name in names}
    for other in others:
        if (name := seen.get(normalize("NFC", other), other)) != other:
            return f"differently (Unicode NFC and NFD): {name!a} and {other!a}"
    return None


def holds_images(folder: Path) -> bool:
    """Whether a file that is an image by its content lies in the folder itself."""
    return any(
        _is_file(entry) and _left_out_as(entry) is None and is_image(entry.path) for entry in _listed(str(folder))
    )


def _walk(
    folder: str, prefix: str, above: set[tuple[int, int]], left_out: LeftOut
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    identity = _identity(folder)
    if identity in above:
        return
    for entry in _listed(folder):
        if (kind := _left_out_as(entry)) is not None:
            left_out.note(kind, prefix + entry.name)
        elif _is_folder(entry):
            yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity}, left_out)
        elif _is_file(entry):
            yield prefix + entry.name, entry
        else:
            left_out.note("system", entry.name)  # a pipe, socket or device, which would block its reader


def _listed(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _left_out_as(entry: os.DirEntry[str]) -> str | None:
    """The kind of file that does not count; None for one that does."""
    name = entry.name.casefold()
    if name.startswith("."):
        return "hidden"
    if name in SYSTEM_FILES or (name in SYSTEM_FOLDERS and _is_folder(entry)):
        return "system"
    stem, ending = os.path.splitext(name)
    if ending in NOTE_ENDINGS or (stem in NOTES and not ending):
        kind = "notes"
    elif ending in OTHER_ENDINGS:
        kind = "other"
    else:
        return None
    return kind if entry.is_file() and not is_image(entry.path) else None


def is_image(path: str | Path) -> bool:
    """Whether the first bytes of a file are those of an image format that is decoded, whatever its name."""
    from alexnet.data.image import (
        formats,  # here, so that `alexnet --help` can list the kinds of sources without Pillow
    )

    try:
        with open_regular(path) as file:
            head = file.read(formats.HEAD)
    except OSError:
        return False
    found = formats.format_of(head)
    # A note may begin with the two letters that begin a BMP; in that, four bytes are zero.
    return found in formats.FORMATS and (found != "BMP" or head[6:10] == bytes(4))


def _above(folder: Path) -> set[tuple[int, int]]:
    return {_identity(str(each)) for each in folder.absolute().parents}


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _length(entry: os.DirEntry[str]) -> int:
    """Bytes; -1 for a broken link."""
    try:
        return entry.stat().st_size
    except OSError:
        return -1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Files, and broken links, which are reported as unreadable images; no pipes, which would block their reader."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
