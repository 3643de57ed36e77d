"""Folders of images, Kaggle's layout, and what all sources have in common."""

import os
import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import miniature
import pytest
from miniature import fingerprint

from alexnet.data.sources import FileAt, Source, TarAt, open_source, read_bytes
from alexnet.data.sources.source import hold_out, printable

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda root: miniature.folder(root, {"train/a": 3, "train/b": 2, "val/a": 1, "val/b": 2}),
    "ilsvrc2012": miniature.ilsvrc2012,
    "kaggle": miniature.kaggle,
    "parquet": miniature.hub,
}


def keys(source: Source, split: str) -> set[str]:
    return {image.key for image in source.splits[split]}


def labels_by_key(source: Source) -> dict[str, str]:
    return {p.key: source.classes[p.label].wnid for split in source.splits.values() for p in split}


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_source_is_told_apart_and_keeps_its_promises(tmp_path: Path, kind: str) -> None:
    source = open_source(BUILDERS[kind](tmp_path / "source"))
    assert source.kind == kind
    assert set(source.splits) == {"train", "val"}
    wnids = [each.wnid for each in source.classes]
    assert wnids == sorted(set(wnids))
    for split in source.splits.values():
        images = list(split)
        assert images == list(split)  # the same order again
        assert split.count == len(images) > 0
        assert len({image.key for image in images}) == len(images)
        assert pickle.loads(pickle.dumps(images)) == images
        for image in images:
            assert 0 <= image.label < len(wnids)
            assert len(read_bytes(image.location)) > 100


def test_the_label_is_the_place_of_the_folder_among_the_sorted_folders(tmp_path: Path) -> None:
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
def test_the_validation_folder_has_many_names(tmp_path: Path, name: str) -> None:
    source = open_source(miniature.folder(tmp_path, {"train/a": 2, "train/b": 2, f"{name}/a": 1, f"{name}/b": 1}))
    assert keys(source, "val") == {f"{name}/a/000.jpg", f"{name}/b/000.jpg"}


def test_val_goes_before_test_and_a_test_folder_without_classes_is_left_alone(tmp_path: Path) -> None:
    images = {"train/a": 20, "train/b": 20, "test": 3}
    source = open_source(miniature.folder(tmp_path / "one", images))
    assert all(key.startswith("train/") for key in keys(source, "val"))
    images |= {"val/a": 1, "val/b": 1, "test/a": 1, "test/b": 1}
    source = open_source(miniature.folder(tmp_path / "two", images))
    assert all(key.startswith("val/") for key in keys(source, "val"))


@pytest.mark.parametrize("fraction", [None, 0.25, 0.5])
@pytest.mark.parametrize("inside", ["", "train/"])
def test_a_part_of_every_class_is_held_out(tmp_path: Path, fraction: float | None, inside: str) -> None:
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


def test_nothing_is_held_out_of_a_fraction_of_0(tmp_path: Path) -> None:
    source = open_source(miniature.folder(tmp_path, {"a": 3, "b": 3}), 0.0)
    assert set(source.splits) == {"train"}
    assert source.splits["train"].count == len(keys(source, "train")) == 6


def test_what_is_held_out_of_a_class_depends_on_nothing_else(tmp_path: Path) -> None:
    before = keys(open_source(miniature.folder(tmp_path, {"b": 12, "c": 12}), 0.3), "val")
    after = keys(open_source(miniature.folder(tmp_path, {"a": 12}), 0.3), "val")
    assert {key for key in after if key[0] != "a"} == before
    names = [f"{n}.jpg" for n in range(100)]
    assert hold_out(names, "a", 0.2, 3) == hold_out(reversed(names), "a", 0.2, 3)
    assert hold_out(names, "a", 0.2, 3) != hold_out(names, "b", 0.2, 3)
    assert len(hold_out(names, "a", 0.2, 3) ^ hold_out([*names, "new.jpg"], "a", 0.2, 3)) <= 2


def test_only_hidden_files_are_left_out(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    for name in (".DS_Store", "._000.jpg", ".hidden/x.jpg", "notes.txt", "no_suffix", "deeper/still/x.jpg"):
        (tmp_path / "train/a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train/a" / name).write_bytes(b"?")
    for folder in (".git", "__MACOSX"):
        (tmp_path / "train" / folder).mkdir()
    (tmp_path / "train" / "README").write_text("of no class")
    source = open_source(tmp_path)
    expected = {"000.jpg", "001.jpg", "notes.txt", "no_suffix", "deeper/still/x.jpg"}
    assert {k for k in keys(source, "train") if k.startswith("train/a/")} == {f"train/a/{n}" for n in expected}
    assert [each.wnid for each in source.classes] == ["a", "b"]


def test_an_empty_class_stays_a_class(tmp_path: Path) -> None:
    source = open_source(
        miniature.folder(tmp_path, {"train/a": 2, "train/b": 0, "train/c": 1, "val/a": 1, "val/b": 0, "val/c": 1})
    )
    assert [each.wnid for each in source.classes] == ["a", "b", "c"]
    assert {image.label for image in source.splits["train"]} == {0, 2}


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
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
    os.mkfifo(tmp_path / "train/a/pipe.jpg")
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
def test_names_that_collide_are_told_or_kept_apart(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"a": 1, "b": 1})
    for name in (b"\xff.jpg", b"\\xff.jpg"):
        with open(os.fsencode(tmp_path / "a") + b"/" + name, "wb") as file:
            file.write(miniature.image())
    assert [p.key for p in open_source(tmp_path, 0.0).splits["train"]].count("a/\\xff.jpg") == 2  # both are there
    for name in (b"caf\xe9", b"caf\\xe9"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    with pytest.raises(ValueError, match=r"two folders that are both written caf\\xe9: rename one"):
        open_source(tmp_path)


def test_train_and_Train_are_not_guessed_between(tmp_path: Path) -> None:  # noqa: N802
    miniature.folder(tmp_path, {"train/a": 1, "train/b": 1, "Train/a": 1, "Train/b": 1, "val/a": 1, "val/b": 1})
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system cannot tell capital letters apart")
    with pytest.raises(ValueError, match="differ only in capital letters, Train, train: rename or merge"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["plain.jpg", "a b/ü 漢字.jpg", "non\u00a0breaking"])
def test_a_readable_name_is_not_changed(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({}, "holds no classes"),
        ({"a": 3}, "only one class folder, a,"),
        ({"set/train/a": 1, "set/train/b": 1}, "only one class folder, set, .* did you mean .*set"),
        (
            {"one/train/a": 1, "one/val/a": 1, "two/train/a": 1, "two/val/a": 1},
            "one is no class folder but a data set",
        ),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/x": 1}, "has classes that .* has not: x"),
        ({"train/a": 1, "train/b": 1, "val/a": 1}, "no folder for these classes of .*: b"),
        ({"train/a": 1, "train/b": 1, "val": 5}, "val holds no class folders"),
        ({"train/a": 1, "train/b": 1, "val/a": 0, "val/b": 0}, "the val split of .* holds no images"),
        ({"train/a": 0, "train/b": 0, "val/a": 1, "val/b": 1}, "the train split of .* holds no images"),
        ({"a": 1, "b": 1}, "the val split of .* holds no images"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_in_one_sentence(
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


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing does not exist"):
        open_source(tmp_path / "nothing")
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"set.zip is a file: .* unpack it"):
        open_source(tmp_path / "set.zip")
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match="fraction"):
            open_source(tmp_path, fraction)


def test_what_is_too_large_or_cut_off_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(1000))
    assert read_bytes(TarAt(str(file), 10, 990)) == bytes(990)
    with pytest.raises(ValueError, match="cut off: download it again"):
        read_bytes(TarAt(str(file), 10, 991))
    monkeypatch.setattr("alexnet.data.sources.LARGEST_IMAGE", 999)
    with pytest.raises(ValueError, match="larger than"):
        read_bytes(FileAt(str(file)))
    with pytest.raises(ValueError, match="larger than"):
        read_bytes(TarAt(str(file), 0, 1000))


def test_kaggles_layout_holds_the_same_as_the_archives(tmp_path: Path) -> None:
    kaggle = open_source(miniature.kaggle(tmp_path / "kaggle"))
    archives = open_source(miniature.ilsvrc2012(tmp_path / "archives"))
    assert kaggle.classes == archives.classes
    for name in ("train", "val"):
        ours = {p.key: (p.label, fingerprint(read_bytes(p.location))) for p in kaggle.splits[name]}
        theirs = {p.key: (p.label, fingerprint(read_bytes(p.location))) for p in archives.splits[name]}
        assert ours == theirs


def test_kaggles_layout_is_found_from_every_folder_of_it(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path)
    expected = labels_by_key(open_source(tmp_path))
    for inside in ("ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"):
        source = open_source(tmp_path / inside)
        assert source.kind == "kaggle"
        assert labels_by_key(source) == expected


def test_kaggles_layout_needs_its_labels_but_not_its_names(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    assert open_source(tmp_path).classes[1] == ("n02100735", "English setter")
    with open(tmp_path / "LOC_val_solution.csv", "a") as file:
        file.write("ILSVRC2012_val_00000099,n00000001 1 2 3 4\n")
    with pytest.raises(ValueError, match=r"LOC_val_solution.csv, line 10: 'n00000001' is no class"):
        open_source(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink()
    with pytest.raises(ValueError, match=r"LOC_val_solution.csv .* is missing: put it beside"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../../../secret", "line 10: '../../../../secret' is no name of an image"),
        ("/etc/passwd", "line 10: '/etc/passwd' is no name of an image"),
        ("ILSVRC2012_val_00000001", "line 10: ILSVRC2012_val_00000001 has a label already"),
    ],
)
def test_kaggles_labels_name_images_of_the_folder_once(tmp_path: Path, name: str, message: str) -> None:
    miniature.kaggle(tmp_path)
    with open(tmp_path / "LOC_val_solution.csv", "a") as file:
        file.write(f"{name},n02100735 1 2 3 4\n")
    with pytest.raises(ValueError, match=f"LOC_val_solution.csv, {message}"):
        open_source(tmp_path)


def test_kaggles_images_sorted_into_class_folders_need_no_labels(tmp_path: Path) -> None:
    miniature.kaggle(tmp_path)
    expected = labels_by_key(open_source(tmp_path))
    images = tmp_path / "ILSVRC/Data/CLS-LOC"
    for key, wnid in expected.items():
        if key.startswith("val/"):
            (images / "val" / wnid).mkdir(exist_ok=True)
            shutil.move(images / key, images / "val" / wnid)
    source = open_source(images)
    assert source.kind == "folder"
    assert {key.split("/")[0] + key.split("/")[-1]: wnid for key, wnid in labels_by_key(source).items()} == {
        key.split("/")[0] + key.split("/")[-1]: wnid for key, wnid in expected.items()
    }
