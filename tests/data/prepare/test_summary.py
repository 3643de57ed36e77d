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
        assert "1 note," in text and "No images: notes.txt." in text


def test_a_name_that_stands_in_many_folders_is_named_once(source: Path, tmp_path: Path) -> None:
    for folder in ("train/ant", "train/bee", "train/cat", "val/ant"):
        (source / folder / "IMG_1.MOV").write_bytes(b"?")
    text = rendered(prepare(source, tmp_path / "store", size=16, workers=1))
    assert "4 videos, archives and the like" in text and "No images: IMG_1.MOV (4 times)." in text


def test_a_call_that_found_all_images_done_claims_no_speed() -> None:
    each = {"wnid": "ant", "name": "ant", "images": 1}
    summary = {
        "store": "new",
        "splits": {"train": {"images": 1, "skipped": 0}},
        "classes": 1,
        "already_there": False,
        "class_images": {"ant": {"train": 1}},
        "class_names": {"ant": "ant"},
        "empty_classes": [],
        "smallest_class": each,
        "largest_class": each,
        "left_out": {},
        "remarks": [],
        "skipped_reasons": [],
        "in_both_splits": {"images": 0, "examples": []},
    }
    assert rendered(summary | {"seconds": 0.1, "images_per_second": 0.0}).endswith("new: 1 class.\n")
    assert "new: 1 class, 2 s, 50 images per second." in rendered(summary | {"seconds": 2.0, "images_per_second": 50.0})


def test_a_class_is_shown_with_its_name_where_that_is_known(source: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (source / split / "ant").rename(source / split / "n01440764")
    summary = prepare(source, tmp_path / "store", size=16, workers=1)
    assert summary["class_names"]["n01440764"].startswith("tench") and summary["class_names"]["bee"] == "bee"
    text = rendered(summary)
    assert re.search(r"tench \(n01440764\)\W+7\W+3", text) and re.search(r"\Wbee\W+7\W+3", text)


def test_a_store_is_no_source(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=16, workers=1)
    with pytest.raises(ValueError, match=r"store is a store already, made by alexnet prepare: train on it"):
        prepare(tmp_path / "store", tmp_path / "other", size=16, workers=1)
    assert not (tmp_path / "other").exists()


def test_progress_counts_what_is_skipped_of_its_own_split(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train/ant/00", "train/bee/01", "val/cat/02"):
        (source / f"{name}.png").write_text("words")
    splits = prepare(source, tmp_path / "store", size=16, workers=1, max_bad=1)["splits"]
    assert (splits["train"]["skipped"], splits["val"]["skipped"]) == (2, 1)
    progress = capsys.readouterr().err
    assert re.search(r"preparing train: .*skipped 2$", progress, re.MULTILINE)
    assert re.search(r"preparing val: .*skipped 1$", progress, re.MULTILINE)
