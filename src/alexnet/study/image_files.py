"""The image files that a command is given: single files, and folders of them."""

from collections.abc import Iterable
from pathlib import Path

from alexnet.data.image import formats
from alexnet.files.regular import open_regular


def is_image(path: Path) -> bool:
    """Whether the file's first bytes are those of an image format that is decoded, whatever its name."""
    with open_regular(path) as file:
        return formats.format_of(file.read(formats.HEAD)) in formats.FORMATS


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
                raise ValueError(f"{path} holds no {formats.known_formats()}; give an image or a folder of images.")
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; give an image or a folder of images.")
    return found
