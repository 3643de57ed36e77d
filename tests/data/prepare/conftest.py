"""What the tests of this room share: a source of three classes, and small shards."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.prepare import chunk


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of six images, three at a time."""
    monkeypatch.setattr(chunk, "IMAGES_PER_CHUNK", 3)
    monkeypatch.setattr(chunk, "CHUNKS_PER_SHARD", 2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes of images of many shapes, 7 each for training and 3 for validation."""
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for split, count in (("train", 7), ("val", 3)):
        for wnid in ("ant", "bee", "cat"):
            (folder / split / wnid).mkdir(parents=True)
            for number in range(count):
                height, width = rng.integers(10, 40, 2)
                image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
                image.save(folder / split / wnid / f"{number:02}.png")
    return folder
