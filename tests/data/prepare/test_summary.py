"""What the summary of a preparation tells: classes, what was left out, and images that are in both splits."""

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from alexnet.data.prepare.prepare import prepare
from alexnet.data.prepare.summary import render

pytestmark = pytest.mark.usefixtures("small_shards")


def rendered(summary: dict[str, Any]) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render(summary))
    return captured.get()


@pytest.mark.parametrize("workers", [1, 2])
def test_images_that_are_in_both_splits_are_reported(source: Path, tmp_path: Path, workers: int) -> None:
    for train, val in (("bee/03", "bee/new"), ("cat/06", "ant/other"), ("cat/06", "ant/again")):
        (source / f"val/{val}.png").write_bytes((source / f"train/{train}.png").read_bytes())
    summary = prepare(source, tmp_path / "store", size=16, workers=workers)
    assert summary["in_both_splits"] == {
        "images": 3,
        "examples": [
            ["train/cat/06.png", "val/ant/again.png"],
            ["train/cat/06.png", "val/ant/other.png"],
            ["train/bee/03.png", "val/bee/new.png"],
        ],
    }
    assert "3 validation images are training images too, such as train/cat/06.png and val/ant/again.png" in rendered(
        prepare(source, tmp_path / "store", size=16, workers=1)
    )
    assert not list((tmp_path / "store").glob("*digests*"))


def test_images_of_one_split_may_repeat(source: Path, tmp_path: Path) -> None:
    for folder in ("train", "val"):
        (source / folder / "ant/new.png").write_bytes((source / folder / "ant/00.png").read_bytes())
    assert prepare(source, tmp_path / "store", size=16, workers=1)["in_both_splits"] == {"images": 0, "examples": []}


def test_the_summary_shows_classes_and_what_was_left_out(source: Path, tmp_path: Path) -> None:
    (source / "train/ant/06.png").unlink()
    (source / "train/cat/more.png").write_bytes((source / "train/cat/00.png").read_bytes())
    (source / "test").mkdir()
    for name in ("train/ant/Thumbs.db", "train/notes.txt", "val/.DS_Store", "val/bee/._00.png"):
        (source / name).write_bytes(b"?")
    summary = prepare(source, tmp_path / "store", size=16, workers=1)
    assert summary["class_images"] == {
        "ant": {"train": 6, "val": 3},
        "bee": {"train": 7, "val": 3},
        "cat": {"train": 8, "val": 3},
    }
    assert summary["smallest_class"] == {"wnid": "ant", "name": "ant", "images": 6}
    assert summary["largest_class"] == {"wnid": "cat", "name": "cat", "images": 8}
    assert summary["left_out"] == {"system": 1, "notes": 1, "hidden": 2}
    for again in (summary, prepare(source, tmp_path / "store", size=16, workers=1)):
        text = rendered(again)
        assert "Training images: 6 in the smallest class (ant), 8 in the largest (cat)." in text
        assert "Left out, because they are not images of a class:" in text and "2 hidden" in text
        assert f"{source / 'test'} is left out: it has no labels." in text
        assert re.search(r"ant\W+6\W+3", text)
