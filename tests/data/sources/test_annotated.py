"""Tiny ImageNet's layout, against ILSVRC-2012's archives."""

from pathlib import Path

import miniature
import pytest
from miniature import fingerprint

from alexnet.data.sources import Source, open_source, read_bytes


def content(source: Source, split: str) -> dict[str, tuple[str, str]]:
    """The wnid and a fingerprint of every image, by its file name."""
    return {
        Path(image.key).name: (source.classes[image.label].wnid, fingerprint(read_bytes(image.location)))
        for image in source.splits[split]
    }


def test_it_holds_the_images_labels_and_names_of_the_archives(tmp_path: Path) -> None:
    annotated = open_source(miniature.annotated(tmp_path / "annotated"))
    archives = open_source(miniature.ilsvrc2012(tmp_path / "archives"))
    assert annotated.kind == "annotated" and annotated.classes == archives.classes
    for split in ("train", "val"):
        assert content(annotated, split) == content(archives, split)
        assert annotated.splits[split].count == len(content(archives, split))


def test_what_is_left_out_is_said_and_counted(tmp_path: Path) -> None:
    source = open_source(miniature.annotated(tmp_path))
    assert source.remarks == (f"{tmp_path / 'test'} is left out: it has no labels",)
    # Five lists of boxes, wnids.txt, words.txt and val_annotations.txt.
    assert source.contents.left_out == {"notes": 8}
    assert source.contents.images == len(miniature.TRUTH) + sum(map(len, miniature.train_files().values()))


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_labels_and_names_are_read_whatever_editor_saved_them(tmp_path: Path, codec: str) -> None:
    expected = content(open_source(miniature.annotated(tmp_path)), "val")
    for name in ("val/val_annotations.txt", "words.txt"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode(codec))
    source = open_source(tmp_path)
    assert content(source, "val") == expected
    assert {each.wnid: each.name for each in source.classes}["n02119789"] == "kit fox, Vulpes macrotis"


def test_classes_without_a_list_of_names_are_named_as_in_ilsvrc(tmp_path: Path) -> None:
    (miniature.annotated(tmp_path) / "words.txt").unlink()
    assert open_source(tmp_path).classes[0] == ("n01440764", "tench, Tinca tinca")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x.JPEG\tn99999999\t0", "line 9: 'n99999999' is not a class of the training folder"),
        ("x.JPEG", "line 9: 'nothing' is not a class"),
        ("../x.JPEG\tn02119789", "line 9: '../x.JPEG' is not the name of an image"),
        ("ILSVRC2012_val_00000001.JPEG\tn02119789", "line 9: ILSVRC2012_val_00000001.JPEG already has a label"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with open(miniature.annotated(tmp_path) / "val" / "val_annotations.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=f"val_annotations.txt, {message}"):
        open_source(tmp_path)
