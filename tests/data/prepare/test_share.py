"""However many processes prepare a store, it is byte for byte what one process makes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.prepare.share import Share
from alexnet.data.sources.source import FileAt, LabelledImage, Split
from alexnet.data.store.verify import verify_store

SMALL_SHARDS = """
import sys
from pathlib import Path
from alexnet.data.prepare import chunk
from alexnet.data.prepare.prepare import prepare
chunk.IMAGES_PER_CHUNK, chunk.CHUNKS_PER_SHARD = 3, 2
prepare(Path(sys.argv[1]), Path(sys.argv[2]), size=8, workers=1, max_bad=1.0)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 training images, of which one and later a whole shard cannot be read; 8 validation images."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(random.integers(0, 256, (9, 10, 3), dtype=np.uint8))
                image.save(folder / split / name / f"{i:02}.png")
    for number in (3, *range(6, 12)):  # nothing is left of the second shard
        (folder / "train" / "a" / f"{number:02}.png").write_text("no image")
    return folder


def start(source: Path, store: Path, rank: int, count: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return subprocess.Popen([sys.executable, "-c", SMALL_SHARDS, str(source), str(store)], env=environment)


def content(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.iterdir()}


def test_the_store_is_what_one_process_makes(source: Path, tmp_path: Path):
    assert start(source, tmp_path / "alone", 0, 1).wait(300) == 0
    expected = content(tmp_path / "alone")
    assert len([name for name in expected if name.startswith("train-")]) == 6
    ranks = [start(source, tmp_path / "shared", rank, 3) for rank in range(3)]
    assert [rank.wait(300) for rank in ranks] == [0, 0, 0]
    assert content(tmp_path / "shared") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "shared"]
    verify_store(tmp_path / "shared")


def test_a_killed_rank_resumes(source: Path, tmp_path: Path):
    """Rank 0 waits and is killed; then both ranks start."""
    first = start(source, tmp_path / "store", 0, 2)
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(3)
    first.kill()
    first.wait()
    ranks = [start(source, tmp_path / "store", rank, 2) for rank in range(2)]
    assert [rank.wait(300) for rank in ranks] == [0, 0]
    assert verify_store(tmp_path / "store")["splits"]["train"] == 33


def test_shares_cover_a_split_once_shard_by_shard():
    images = [LabelledImage(str(i), 0, FileAt("")) for i in range(23)]
    split = Split(lambda: iter(images), lambda: len(images))
    shares = [Share(rank, 3, 1).of(split, 5) for rank in range(3)]
    assert [[int(image.key) for image in share] for share in shares] == [
        [0, 1, 2, 3, 4, 15, 16, 17, 18, 19],
        [5, 6, 7, 8, 9, 20, 21, 22],
        [10, 11, 12, 13, 14],
    ]
    assert [share.count for share in shares] == [10, 8, 5]
