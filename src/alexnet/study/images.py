"""Loose image files: which are meant, which class a file says it belongs to, what to call a class."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from alexnet.data.classes import Class

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


def readable(name: str) -> str:
    """The first of a class's names: "tench, Tinca tinca" becomes "tench"."""
    return name.split(",")[0].strip()


def is_image(path: Path) -> bool:
    """Whether the file begins as a JPEG, PNG, GIF, BMP or WebP file does, whatever it is called."""
    with path.open("rb") as file:
        head = file.read(12)
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def expand(paths: Iterable[Path | str]) -> list[Path]:
    """Files as they are; for a folder all images in it and below it, sorted.

    ValueError for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
            images = [file for file in files if is_image(file)]
            if not images:
                raise ValueError(f"{path} holds no JPEG, PNG, WebP, GIF or BMP; give an image or a folder of them.")
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; give an image or a folder of them.")
    return found


def true_class(path: Path, classes: Sequence[Class]) -> int | None:
    """Index of the class that the file says it belongs to, None where it says nothing.

    It says so by the folder it lies in (a wnid or a class name), or by a file name that begins with a wnid as
    ImageNet's own do (n01440764_10026.JPEG).
    """
    index = {readable(entry.name).lower(): i for i, entry in enumerate(classes)}
    index |= {entry.name.lower(): i for i, entry in enumerate(classes)}
    index |= {entry.wnid.lower(): i for i, entry in enumerate(classes)}
    prefix = re.match(r"(n\d{8})_", path.name)
    for word in (
        path.absolute().parent.name,
        path.absolute().parent.name.replace("_", " "),
        prefix and prefix[1],
    ):
        if word and word.lower() in index:
            return index[word.lower()]
    return None
