"""Folders of class folders: which images they hold, how they are labelled, and which layouts are refused."""

import os
import pickle
import sys
from collections import Counter
from pathlib import Path

import miniature
import pytest
from miniature import fingerprint, keys

from alexnet.data.sources import open_source, read_bytes


def test_the_label_is_the_index_of_the_folder_among_the_sorted_folders(tmp_path: Path) -> None:
    names = ["b", "a b", "Z", "n02100735"]
    source = open_source(miniature.folder(tmp_path, {f"train/{n}": 2 for n in names} | {f"val/{n}": 1 for n in names}))
    assert [each.wnid for each in source.classes] == sorted(names)
    assert {each.wnid: each.name for each in source.classes}["n02100735"] == "English setter"
    for split in source.splits.values():
        for image in split:
            assert source.classes[image.label].wnid == Path(image.key).parent.name
            expected = (tmp_path / image.key).read_bytes()
            assert fingerprint(read_bytes(image.location)) == fingerprint(expected)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test", "Val"])
def test_the_validation_folder_may_have_several_names(tmp_path: Path, name: str) -> None:
    source = open_source(miniature.folder(tmp_path, {"train/a": 2, "train/b": 2, f"{name}/a": 1, f"{name}/b": 1}))
    assert keys(source, "val") == {f"{name}/a/000.jpg", f"{name}/b/000.jpg"}


def test_val_takes_precedence_over_test_and_a_test_folder_without_classes_is_ignored(tmp_path: Path) -> None:
    images = {"train/a": 20, "train/b": 20, "test": 3}
    source = open_source(miniature.folder(tmp_path / "one", images))
    assert all(key.startswith("train/") for key in keys(source, "val"))
    images |= {"val/a": 1, "val/b": 1, "test/a": 1, "test/b": 1}
    source = open_source(miniature.folder(tmp_path / "two", images))
    assert all(key.startswith("val/") for key in keys(source, "val"))


@pytest.mark.parametrize("fraction", [None, 0.25, 0.5])
@pytest.mark.parametrize("inside", ["", "train/"])
def test_a_fraction_of_every_class_is_held_out(tmp_path: Path, fraction: float | None, inside: str) -> None:
    sizes = {"a": 20, "b": 8, "c": 1, "d": 2}
    miniature.folder(tmp_path, {inside + name: count for name, count in sizes.items()})
    source = open_source(tmp_path, fraction)
    train, val = keys(source, "train"), keys(source, "val")
    assert not train & val
    assert len(train | val) == sum(sizes.values())
    assert source.splits["train"].count == len(train)
    assert source.splits["val"].count == len(val)
    held = Counter(source.classes[image.label].wnid for image in source.splits["val"])
    expected = {n: max(1, round(c * (0.1 if fraction is None else fraction))) for n, c in sizes.items() if c > 1}
    assert held == expected
    assert keys(open_source(tmp_path, fraction), "val") == val
    assert keys(open_source(tmp_path, fraction, seed=1), "val") != val


def test_with_a_fraction_of_0_nothing_is_held_out(tmp_path: Path) -> None:
    source = open_source(miniature.folder(tmp_path, {"a": 3, "b": 3}), 0.0)
    assert set(source.splits) == {"train"}
    assert source.splits["train"].count == len(keys(source, "train")) == 6


LEFT_OUT = {
    "hidden": (".DS_Store", "._000.jpg", ".hidden/x.jpg", ".ipynb_checkpoints/000.jpg"),
    "system": ("Thumbs.db", "desktop.ini", "@eaDir/000.jpg", "__MACOSX/x.jpg", "lost+found/x", "$RECYCLE.BIN/x.jpg"),
    "notes": ("notes.txt", "README", "readme.md", "labels.csv", "LICENSE", "boxes.json", "paper.pdf"),
    "other": ("IMG_0001.MOV", "clip.mp4", "IMG_0001.AAE", "all.zip", "features.npy", "old.tar.gz"),
}


def test_notes_hidden_and_system_files_are_left_out_and_counted(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    taken = ("no_suffix", "deeper/still/x.jpg", "broken.png", "a.svg")
    for name in (*taken, *(name for names in LEFT_OUT.values() for name in names)):
        for folder in ("train/a", "train"):
            if folder == "train/a" or name not in taken:
                (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / name).write_bytes(b"?")
    (tmp_path / "train/a/photo.txt").write_bytes(miniature.image())  # the content decides
    (tmp_path / "train/a/notes.txt").write_text("BMW, GIF and other letters that begin images")
    (tmp_path / "train/stray.jpg").write_bytes(miniature.image())
    source = open_source(tmp_path)
    expected = {"000.jpg", "001.jpg", "photo.txt", *taken}
    assert {k for k in keys(source, "train") if k.startswith("train/a/")} == {f"train/a/{n}" for n in expected}
    assert [each.wnid for each in source.classes] == ["a", "b"]
    assert source.contents.left_out == {kind: 2 * len(names) for kind, names in LEFT_OUT.items()} | {"stray": 1}
    assert source.contents.images == sum(split.count or 0 for split in source.splits.values())


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training", "testing"),
        ("Train", "TEST"),
        ("Training_Set", "test_set/test_set"),
        ("train-images", "Validation"),
        ("train_data/deep/deeper", "val"),
    ],
)
def test_the_folders_of_splits_have_many_names_and_may_lie_deeper(tmp_path: Path, train: str, validation: str) -> None:
    images = {f"{folder}/{name}": 2 for folder in (train, validation) for name in ("a", "b")}
    source = open_source(miniature.folder(tmp_path, images))
    assert [each.wnid for each in source.classes] == ["a", "b"]
    for split, folder in (("train", train), ("val", validation)):
        assert keys(source, split) == {f"{folder}/{name}/00{n}.jpg" for name in ("a", "b") for n in range(2)}
    assert source.remarks == ()


def test_what_is_not_used_beside_the_splits_is_said(tmp_path: Path) -> None:
    images = {f"{split}/{name}": 1 for split in ("seg_train/seg_train", "seg_test/seg_test") for name in "ab"}
    source = open_source(miniature.folder(tmp_path / "intel", images | {"seg_pred": 3}))
    assert source.remarks == (f"{tmp_path / 'intel' / 'seg_pred'} is left out: it has no labels",)
    images = {f"{split}/{name}": 1 for split in ("train", "val") for name in "ab"} | {"test/unknown": 3}
    source = open_source(miniature.folder(tmp_path / "three", images))
    assert source.remarks == (f"{tmp_path / 'three/test'} is left out: it holds none of the classes",)


@pytest.mark.parametrize("val_fraction", [None, 0.5, 0.0])
@pytest.mark.parametrize("has_val", [True, False])
def test_test_images_are_a_third_split_or_validate_where_nothing_else_does(
    tmp_path: Path, has_val: bool, val_fraction: float | None
) -> None:
    images = {f"train/{name}": 4 for name in "ab"} | {f"Testing/{name}": 3 for name in "ab"}
    images |= {f"val/{name}": 2 for name in "ab"} if has_val else {}
    source = open_source(miniature.folder(tmp_path, images), val_fraction)
    found = {name: split.count for name, split in source.splits.items()}
    if has_val:
        assert found == {"train": 8, "val": 4, "test": 6}
    elif val_fraction is None:
        assert found == {"train": 8, "val": 6}
    else:
        assert found == ({"train": 4, "val": 4, "test": 6} if val_fraction else {"train": 8, "test": 6})
    assert source.contents.images == sum(count or 0 for count in found.values())
    for name in found.keys() & {"test"}:
        assert {image.key.split("/")[0] for image in source.splits[name]} == {"Testing"}


def test_a_test_folder_with_a_class_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    images = {f"{split}/{name}": 1 for split in ("train", "val", "test") for name in "ab"} | {"test/c": 1}
    with pytest.raises(ValueError, match=r"test has classes that .*train does not have: c"):
        open_source(miniature.folder(tmp_path, images))


def test_two_folders_for_the_same_split_are_refused(tmp_path: Path) -> None:
    images = {f"{split}/{name}": 1 for split in ("train", "training") for name in "ab"}
    with pytest.raises(ValueError, match="stand for the same split, train, training: rename or merge"):
        open_source(miniature.folder(tmp_path, images))


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS cannot tell such names apart")
@pytest.mark.parametrize(
    "images",
    [
        {f"train/{COMPOSED}": 1, "train/b": 1, f"val/{DECOMPOSED}": 1, "val/b": 1},
        {f"train/{DECOMPOSED}": 1, "train/b": 1, f"val/{COMPOSED}": 1, "val/b": 1},
        {COMPOSED: 2, DECOMPOSED: 2},
    ],
)
def test_names_that_look_alike_say_so(tmp_path: Path, images: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"look alike .* \(Unicode NFC and NFD\): .*caf.*: rename") as caught:
        open_source(miniature.folder(tmp_path, images))
    assert r"caf\xe9" in str(caught.value) and r"cafe\u0301" in str(caught.value)


def test_a_source_tells_whether_it_has_changed(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"a": 3, "b": 3})
    first = open_source(tmp_path).contents
    assert open_source(tmp_path, 0.5, seed=3).contents == first
    (tmp_path / "a" / "000.jpg").write_bytes(miniature.image(9, width=41))
    second = open_source(tmp_path).contents
    (tmp_path / "a" / "new.jpg").write_bytes(miniature.image(10))
    third = open_source(tmp_path).contents
    (tmp_path / "a" / "new.jpg").rename(tmp_path / "b" / "new.jpg")
    fourth = open_source(tmp_path).contents
    assert [each.images for each in (first, second, third, fourth)] == [6, 6, 7, 7]
    assert len({each.sha256 for each in (first, second, third, fourth)}) == 4


def test_of_class_folders_alone_those_without_images_are_left_out(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"a": 2, "b": 2, "empty": 0, "notes": 0, "c/deeper": 1})
    (tmp_path / "notes" / "plan.txt").write_text("?")
    source = open_source(tmp_path)
    assert [each.wnid for each in source.classes] == ["a", "b", "c"]
    assert source.remarks == ("Left out, because no image is in it: empty, notes",)
    with pytest.raises(ValueError, match=r"only one folder in .* holds images, a: put the images"):
        open_source(miniature.folder(tmp_path / "one", {"a": 2, "b": 0}))
    with pytest.raises(ValueError, match="none holds no images: put the images"):
        open_source(miniature.folder(tmp_path / "none", {"a": 0, "b": 0}))


def test_an_empty_folder_is_a_class_beside_a_validation_folder(tmp_path: Path) -> None:
    source = open_source(
        miniature.folder(tmp_path, {"train/a": 2, "train/b": 0, "train/c": 1, "val/a": 1, "val/b": 0, "val/c": 1})
    )
    assert [each.wnid for each in source.classes] == ["a", "b", "c"]
    assert {image.label for image in source.splits["train"]} == {0, 2}


def test_links_are_followed_without_endless_loops(tmp_path: Path) -> None:
    root = miniature.folder(tmp_path / "set", {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.jpg").write_bytes(miniature.image(7))
    a = root / "train" / "a"
    (a / "file.jpg").symlink_to(tmp_path / "elsewhere" / "far.jpg")
    (a / "folder").symlink_to(tmp_path / "elsewhere")
    (a / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (a / "itself").symlink_to(a / "itself")
    for number, target in enumerate((a, a.parent, root, tmp_path)):
        (a / f"up{number}").symlink_to(target)
    (root / "train" / "c").symlink_to(tmp_path / "elsewhere")
    (root / "val" / "c").symlink_to(tmp_path / "elsewhere")
    source = open_source(root)
    expected = {
        "a/000.jpg",
        "a/file.jpg",
        "a/folder/far.jpg",
        "a/broken.jpg",
        "a/itself",
        "b/000.jpg",
        "c/far.jpg",
    }
    assert keys(source, "train") == {f"train/{name}" for name in expected}
    for image in source.splits["train"]:
        if image.key.endswith(("broken.jpg", "itself")):
            with pytest.raises(ValueError, match="cannot be read"):
                read_bytes(image.location)
        else:
            assert read_bytes(image.location)[:2] == b"\xff\xd8"


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    for name in ("pipe.jpg", "pipe.txt"):
        os.mkfifo(tmp_path / "train/a" / name)
    assert keys(open_source(tmp_path), "train") == {"train/a/000.jpg", "train/b/000.jpg"}


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has only UTF-8 names")
def test_names_that_are_not_utf8_become_keys_that_can_be_written(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"a": 1, "b": 1})
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(odd)
    for name in (b"\xff\xfe.jpg", b"two\nlines.jpg", "schön.jpg".encode()):
        with open(odd + b"/" + name, "wb") as file:
            file.write(miniature.image())
    source = open_source(tmp_path, 0.0)
    assert keys(source, "train") == {
        "a/000.jpg",
        "b/000.jpg",
        "caf\\xe9/\\xff\\xfe.jpg",
        "caf\\xe9/two\\nlines.jpg",
        "caf\\xe9/schön.jpg",
    }
    for image in source.splits["train"]:
        assert image.key.encode().decode() == image.key
        assert read_bytes(pickle.loads(pickle.dumps(image)).location) == read_bytes(image.location)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has only UTF-8 names")
def test_names_that_collide_are_kept_apart_or_refused(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"a": 1, "b": 1})
    for name in (b"\xff.jpg", b"\\xff.jpg"):
        with open(os.fsencode(tmp_path / "a") + b"/" + name, "wb") as file:
            file.write(miniature.image())
    assert [p.key for p in open_source(tmp_path, 0.0).splits["train"]].count("a/\\xff.jpg") == 2  # both are there
    for name in (b"caf\xe9", b"caf\\xe9"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    with pytest.raises(ValueError, match=r"two folders that are both written caf\\xe9: rename one"):
        open_source(tmp_path)


def test_train_beside_Train_is_refused(tmp_path: Path) -> None:  # noqa: N802
    miniature.folder(tmp_path, {"train/a": 1, "train/b": 1, "Train/a": 1, "Train/b": 1, "val/a": 1, "val/b": 1})
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system cannot tell capital letters apart")
    with pytest.raises(ValueError, match="differ only in capital letters, Train, train: rename or merge"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "holds no images in a known layout: expected one of"),
        ({"a": 3}, "only one class folder, a; at least two"),
        ({"set/train/a": 1, "set/train/b": 1}, "only one class folder, set; .* did you mean .*set"),
        (
            {"one/train/a": 1, "one/val/a": 1, "two/train/a": 1, "two/val/a": 1},
            "one is a data set of its own, not a class folder",
        ),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/x": 1}, "has classes that .* does not have: x"),
        ({"train/a": 1, "train/b": 1, "val/a": 1}, "no folder for these classes of .*: b"),
        ({"train/a": 1, "train/b": 1, "val": 5}, "val holds no class folders"),
        ({"train/a": 1, "train/b": 1, "val/a": 0, "val/b": 0}, "the val split of .* holds no images"),
        ({"train/a": 0, "train/b": 0, "val/a": 1, "val/b": 1}, "the train split of .* holds no images"),
        ({"a": 1, "b": 1}, "the val split of .* holds no images"),
    ],
)
def test_a_folder_without_a_usable_layout_is_refused_in_one_sentence(
    tmp_path: Path, images: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_source(miniature.folder(tmp_path, images))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_the_right_folder_is_suggested(tmp_path: Path) -> None:
    root = miniature.folder(tmp_path / "set", {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1})
    with pytest.raises(ValueError, match=f"did you mean {root}"):
        open_source(tmp_path)
