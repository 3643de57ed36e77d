"""ILSVRC-2012 as Kaggle packs it, against the published archives."""

import shutil
from pathlib import Path

import miniature
import pytest
from miniature import fingerprint, labels_by_key

from alexnet.data.sources import open_source, read_bytes


def test_kaggles_layout_holds_the_images_of_the_archives(tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match=r"LOC_val_solution.csv, line 10: 'n00000001' is not a class"):
        open_source(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink()
    with pytest.raises(ValueError, match=r"LOC_val_solution.csv .* is missing: put it beside"):
        open_source(tmp_path)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_labels_and_names_are_read_whatever_program_saved_them(tmp_path: Path, codec: str) -> None:
    expected = open_source(miniature.kaggle(tmp_path))
    labels, classes = labels_by_key(expected), expected.classes
    for name in ("LOC_val_solution.csv", "LOC_synset_mapping.txt"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_bytes(text.replace("\n", "\r\n").encode(codec))
    source = open_source(tmp_path)
    assert labels_by_key(source) == labels and source.classes == classes


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../../../secret", "line 10: '../../../../secret' is not the name of an image"),
        ("/etc/passwd", "line 10: '/etc/passwd' is not the name of an image"),
        ("ILSVRC2012_val_00000001", "line 10: ILSVRC2012_val_00000001 already has a label"),
    ],
)
def test_labels_must_name_images_of_the_folder_and_only_once(tmp_path: Path, name: str, message: str) -> None:
    miniature.kaggle(tmp_path)
    with open(tmp_path / "LOC_val_solution.csv", "a") as file:
        file.write(f"{name},n02100735 1 2 3 4\n")
    with pytest.raises(ValueError, match=f"LOC_val_solution.csv, {message}"):
        open_source(tmp_path)


def test_validation_images_sorted_into_class_folders_need_no_labels(tmp_path: Path) -> None:
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
