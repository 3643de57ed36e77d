"""Which image files a command takes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources import open_source
from alexnet.study.image_files import find_images


def test_files_in_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{name}.webp")
    assert [path.name for path in find_images([tmp_path])] == ["a.webp", "b.webp", "c.webp"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_an_image_is_known_by_its_content(tmp_path: Path, format: str) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "x", format)
    assert find_images([tmp_path]) == [tmp_path / "x"]


def test_a_folder_gives_what_prepare_takes_of_it(tmp_path: Path) -> None:
    for folder, number in (("ant", 1), ("bee", 2)):
        (tmp_path / folder / "deeper").mkdir(parents=True)
        for name in ("a.png", "deeper/b.jpg", ".c.png", "._a.png", "Thumbs.db", "notes.txt", "broken.jpg"):
            Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / folder / name, "PNG")
        for name in ("Thumbs.db", "notes.txt", "broken.jpg"):
            (tmp_path / folder / name).write_bytes(b"no image")
        (tmp_path / folder / "@eaDir").mkdir()
        (tmp_path / folder / "@eaDir" / "a.png").write_bytes(b"thumbnail")
    expected = [
        tmp_path / folder / name for folder in ("ant", "bee") for name in ("a.png", "broken.jpg", "deeper/b.jpg")
    ]
    assert find_images([tmp_path]) == expected
    prepared = open_source(tmp_path, 0.0).splits["train"]
    assert [tmp_path / image.key for image in prepared] == expected
