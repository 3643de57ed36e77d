"""The image files that a command is given: single files, and folders of them."""

from collections.abc import Iterable
from pathlib import Path

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


def is_image(path: Path) -> bool:
    """Whether the file's first bytes are those of a JPEG, PNG, GIF, BMP or WebP file, whatever its name."""
    with path.open("rb") as file:
        head = file.read(12)
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def find_images(paths: Iterable[Path | str]) -> list[Path]:
    """The files among `paths` as given; for each folder, the image files in and below it, sorted.

    Raises ValueError for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
            images = [file for file in files if is_image(file)]
            if not images:
                raise ValueError(f"{path} holds no JPEG, PNG, WebP, GIF or BMP; give an image or a folder of images.")
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; give an image or a folder of images.")
    return found
