"""The image files that a command is given: single files, and folders of them."""

from collections.abc import Iterable
from pathlib import Path

from alexnet.data.sources.walk import files_below


def find_images(paths: Iterable[Path | str]) -> list[Path]:
    """The files among `paths` as given; for each folder, the images in and below it, sorted folder by folder.

    Which files of a folder count is the same as for `alexnet prepare` (`alexnet.data.sources.walk`). Raises ValueError
    for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            images = [path / name for name in files_below(path)]
            if not images:
                raise ValueError(f"{path} holds no images; give an image or a folder of images.")
            found += images
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"{path} does not exist; give an image or a folder of images.")
    return found
