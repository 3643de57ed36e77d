"""Which image files a command takes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.study.image_files import find_images


def test_files_in_a_folder_are_sorted(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{name}.webp")
    assert [path.name for path in find_images([tmp_path])] == ["a.webp", "b.webp", "c.webp"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_an_image_is_known_by_its_content(tmp_path: Path, format: str) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "x", format)
    assert find_images([tmp_path]) == [tmp_path / "x"]
