"""A folder of images with a table of their labels, in the forms that people and programs write."""

import csv
import gc
import io
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import miniature
import pandas as pd
import pytest
from miniature import labels_by_key

from alexnet.cli import main
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources import open_source, read_bytes
from alexnet.data.store.reader import Store
from alexnet.ranges import UsageError

LABELS = {f"img {n:02}.jpg": ("ant", "bee", "cicada, or katydid")[n % 3] for n in range(30)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Thirty images in one folder."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(LABELS):
        (folder / name).write_bytes(miniature.image(number))
    return folder


def as_csv(separator: str = ",", header: bool = True, names: tuple[str, str] = ("file", "species")) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator)
    writer.writerows(([names] if header else []) + [list(each) for each in LABELS.items()])
    return text.getvalue().encode()


TABLES: dict[str, bytes] = {
    "labels.csv": as_csv(),
    "labels.tsv": as_csv("\t"),
    "labels.jsonl": "".join(json.dumps({"image": a, "label": b}) + "\n" for a, b in LABELS.items()).encode(),
    "metadata.csv": as_csv(names=("file_name", "label")),
    "metadata.jsonl": "".join(
        json.dumps({"file_name": a, "label": b, "n": [1]}) + "\n" for a, b in LABELS.items()
    ).encode(),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_beside_the_images_is_detected_and_gives_their_labels(images: Path, name: str) -> None:
    (images / name).write_bytes(TABLES[name])
    source = open_source(images)
    assert source.kind == "listed" and labels_by_key(source) == LABELS
    assert [each.wnid for each in source.classes] == sorted(set(LABELS.values()))
    assert {split: of.count for split, of in source.splits.items()} == {"train": 27, "val": 3}
    for split in source.splits.values():
        listed = list(split)
        assert listed == list(split) and len(listed) == split.count
        assert all(read_bytes(each.location) == (images / each.key).read_bytes() for each in listed)


FORMS: dict[str, tuple[str, bytes]] = {
    "semicolons": ("a.csv", as_csv(";")),
    "tabs in .csv": ("a.csv", as_csv("\t")),
    "no header": ("a.csv", as_csv(header=False)),
    "other words": ("a.csv", as_csv(names=("Foto", "Tierart"))),
    "Excel": ("a.csv", b"\xef\xbb\xbf" + as_csv(";", names=("Filename", "Class"))),
    "UTF-16": ("a.csv", as_csv("\t").decode().encode("utf-16")),
    "old Mac": ("a.csv", as_csv().replace(b"\r\n", b"\r")),
    "Caffe": ("a.txt", "".join(f"{a} {len(b)}\n" for a, b in LABELS.items()).encode()),
    "pandas": ("a.csv", pd.DataFrame({"path": LABELS.keys(), "label": LABELS.values()}).to_csv().encode()),
    "without endings": ("a.csv", as_csv(names=("id", "breed")).replace(b".jpg", b"")),
    "backslashes": ("a.csv", as_csv().replace(b"img ", b".\\img ")),
    "blank lines": ("a.csv", as_csv().replace(b"\r\n", b"\r\n\r\n")),
}


@pytest.mark.parametrize("form", FORMS)
def test_whoever_wrote_a_table_it_is_read(images: Path, tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content)
    found = labels_by_key(open_source(images, labels=tmp_path / name))
    expected = {a: str(len(b)) for a, b in LABELS.items()} if form == "Caffe" else LABELS
    assert found == expected


def test_images_in_the_one_folder_beside_the_table_are_found(images: Path, tmp_path: Path) -> None:
    """As of a competition of Kaggle: `labels.csv` with bare names, and the images in `train`."""
    (tmp_path / "set" / "sample").mkdir(parents=True)
    images.rename(tmp_path / "set" / "train")
    for number in range(50):
        (tmp_path / "set" / f"note {number}.txt").write_text("a note")
    (tmp_path / "set" / "labels.csv").write_bytes(as_csv(names=("id", "breed")).replace(b".jpg", b""))
    source = open_source(tmp_path / "set", val_fraction=0, labels=tmp_path / "set" / "labels.csv")
    assert labels_by_key(source) == {f"train/{name}": label for name, label in LABELS.items()}


def test_columns_are_chosen_where_their_names_are_unusual(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    frame = pd.DataFrame({"Bild": LABELS.keys(), "n": 1, "Art": LABELS.values(), "label": "same"})
    frame.to_csv(table, index=False)
    source = open_source(images, labels=table, image_column="Bild", label_column="Art")
    assert labels_by_key(source) == LABELS
    assert source.remarks == (f"{table}: image in the column Bild and label in the column Art",)
    with pytest.raises(ValueError, match=r"no column of images .* \(it has Art, Bild, label, n\): .* --image-column"):
        open_source(images, labels=table)
    with pytest.raises(UsageError, match=r"no column 'art' .* choose one with --label-column"):
        open_source(images, labels=table, image_column="Bild", label_column="art")


def test_a_column_or_the_first_folder_says_the_split(images: Path, tmp_path: Path) -> None:
    splits = {name: ("training", "Validation", "TEST")[n % 3] for n, name in enumerate(LABELS)}
    table = tmp_path / "a.csv"
    pd.DataFrame({"file": LABELS.keys(), "label": LABELS.values(), "split": splits.values()}).to_csv(table, index=False)
    source = open_source(images, labels=table)
    assert {name: {image.key for image in split} for name, split in source.splits.items()} == {
        ours: {name for name, split in splits.items() if split == theirs}
        for ours, theirs in (("train", "training"), ("val", "Validation"), ("test", "TEST"))
    }
    for name, split in splits.items():
        (images / split.lower()).mkdir(exist_ok=True)
        (images / name).rename(images / split.lower() / name)
    rows = [{"file_name": f"{splits[name].lower()}/{name}", "label": label} for name, label in LABELS.items()]
    (images / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = open_source(images)
    assert {name: split.count for name, split in again.splits.items()} == {"train": 10, "val": 10, "test": 10}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets does not close the tables
def test_the_hub_keeps_a_table_for_each_split(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for split, first in (("train", 0), ("test", 12)):
        (tmp_path / "data" / split).mkdir(parents=True)
        rows = []
        for number in range(first, first + 12):
            (tmp_path / "data" / split / f"{number}.png").write_bytes(miniature.image(number, format="PNG"))
            rows.append({"file_name": f"{number}.png", "label": "ab"[number % 2]})
        pd.DataFrame(rows).to_csv(tmp_path / "data" / split / "metadata.csv", index=False)
    source = open_source(tmp_path / "data")
    assert source.kind == "listed" and [*source.splits] == ["train", "val"]
    assert source.remarks[-1].endswith("so test is the validation split")
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # files that it leaves to be collected
        hub = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
        gc.collect()
    for ours, theirs in (("train", "train"), ("val", "test")):
        assert [source.classes[image.label].wnid for image in source.splits[ours]] == hub[theirs]["label"]
    held = open_source(tmp_path / "data", val_fraction=0.25)
    assert {name: split.count for name, split in held.splits.items()} == {"train": 8, "val": 4, "test": 12}


def test_a_test_split_stays_apart_where_images_are_held_out(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    rows = [(name, label, "test" if n < 6 else "train") for n, (name, label) in enumerate(LABELS.items())]
    pd.DataFrame(rows, columns=["file", "label", "split"]).to_csv(table, index=False)
    prepare(images, tmp_path / "store", size=16, workers=1, labels=table, val_fraction=0.25)
    store = Store(tmp_path / "store")
    assert store.splits == {"train": 18, "val": 6, "test": 6}
    test = store.split("test")
    found = {test.key(i): store.classes[label].wnid for i, label in enumerate(test.labels)}
    assert found == {name: label for name, label, split in rows if split == "test"}


def test_what_is_held_out_depends_on_the_seed_and_not_on_other_rows(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes(as_csv())
    held = {each.key for each in open_source(images, labels=table, seed=1).splits["val"]}
    assert held != {each.key for each in open_source(images, labels=table, seed=2).splits["val"]}
    assert sorted(LABELS[name] for name in held) == sorted(set(LABELS.values()))  # one of each class
    lines = as_csv().splitlines(keepends=True)
    table.write_bytes(b"".join([lines[0], *lines[:0:-1]]))
    assert held == {each.key for each in open_source(images, labels=table, seed=1).splits["val"]}


def test_numbers_are_classes_in_their_own_order_and_rows_without_a_label_are_left_out(
    images: Path, tmp_path: Path
) -> None:
    table = tmp_path / "a.csv"
    rows = [(name, "" if n < 3 else n % 11 * 5) for n, name in enumerate(LABELS)]
    pd.DataFrame(rows, columns=["file", "label"]).to_csv(table, index=False)
    source = open_source(images, val_fraction=0, labels=table)
    assert [each.wnid for each in source.classes] == [str(5 * n) for n in range(11)]
    assert source.splits["train"].count == 27 and "3 rows without a label are left out" in source.remarks


def test_images_that_are_missing_or_broken_are_skipped_and_named(images: Path, tmp_path: Path) -> None:
    (images / "labels.csv").write_bytes(as_csv())
    (images / "img 03.jpg").unlink()
    (images / "img 04.jpg").write_bytes(b"no image")
    summary = prepare(images, tmp_path / "store", size=16, workers=1, max_bad=0.1)
    assert sorted(each["key"] for each in summary["skipped_reasons"]) == ["img 03.jpg", "img 04.jpg"]


def test_a_source_of_which_an_image_or_a_label_has_changed_is_noticed(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes(as_csv())
    before = open_source(images, labels=table).contents
    assert before.images == 30
    (images / "img 03.jpg").write_bytes(miniature.image(99, width=300))
    after = open_source(images, labels=table).contents
    table.write_bytes(as_csv().replace(b"img 04.jpg,bee", b"img 04.jpg,ant"))
    assert len({before.sha256, after.sha256, open_source(images, labels=table).contents.sha256}) == 3


def test_class_folders_win_over_a_table_beside_them_and_the_table_is_named(tmp_path: Path) -> None:
    folder = miniature.folder(tmp_path / "images", {"a": 3, "b": 3})
    (folder / "labels.csv").write_text("file,label\na/000.jpg,x\nb/000.jpg,y\n")
    source = open_source(folder)
    assert source.kind == "folder" and any("labels.csv is left out" in remark for remark in source.remarks)
    listed = open_source(folder, val_fraction=0, labels=folder / "labels.csv")
    assert labels_by_key(listed) == {"a/000.jpg": "x", "b/000.jpg": "y"}
    (folder / "metadata.csv").write_text("file_name,text\na/000.jpg,a caption\n")
    assert open_source(folder).kind == "folder"


def spoilt(change: Callable[[bytes], bytes]) -> bytes:
    return change(as_csv())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"file,label\n", "no labelled images"),
        (b"file,label\nimg 00.jpg,ant\n", "only one class, ant"),
        (b"file,label\nnowhere.jpg,ant\n", "None of the first 1 images .* the folder that its paths start from"),
        (as_csv() + b"../secret.jpg,ant\r\n", "line 32: '../secret.jpg' leads out of"),
        (as_csv() + b"a/../../secret.jpg,ant\r\n", "leads out of"),
        (as_csv() + b"..\\secret.jpg,ant\r\n", "leads out of"),
        (as_csv() + b"/etc/passwd,ant\r\n", "leads out of"),
        (as_csv() + b"C:\\secret.jpg,ant\r\n", "leads out of"),
        (as_csv() + b"img 04.jpg,ant\r\n", "names img 04.jpg twice: record 31"),
        (as_csv() + b"./img 04.jpg,ant\r\n", "names img 04.jpg twice"),
        (as_csv() + b"lonely\r\n", "line 32, does not have image in the column file"),
        (as_csv() + b'"open,ant\r\n' + b"x" * 200_000, "line 3[23]"),
        (as_csv() + b"\xff\xfe\xff\r\n", "neither UTF-8 nor UTF-16: save it as UTF-8"),
        (as_csv() + b"a.jpg," + b"x" * 1001 + b"\r\n", "the label of a.jpg is longer than 1,000 letters"),
        (b"file,label,label\nimg 00.jpg,a,b\n", "two columns 'label'"),
        (b"when,where,what\n1,2,3\n", "none of which is called"),
        (as_csv(names=("file", "file")), "two columns 'file'"),
    ],
)
def test_a_table_that_cannot_be_understood_is_a_sentence(
    images: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_source(images, labels=tmp_path / "a.csv")
    assert "a.csv" in str(caught.value) or str(images) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "each line holds one JSON object"), ("[1]", "not one JSON object"), ('{"file": "a"}', "does not have"),
     ('{"file": "img 01.jpg", "label": {"a": 1}}', "does not have"), ("[" * 50_000, "each line holds")],
)  # fmt: skip
def test_a_line_of_json_that_is_no_image_is_named(images: Path, tmp_path: Path, line: str, message: str) -> None:
    table = tmp_path / "a.jsonl"
    table.write_text('{"file": "img 00.jpg", "label": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match=f"a.jsonl, line 2.*{message}"):
        open_source(images, labels=table)


def test_a_cell_that_is_a_formula_or_a_terminal_escape_is_only_a_name(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("file,label\nimg 00.jpg,=1+1\nimg 01.jpg,\x1b[2Jred\n")
    assert [each.wnid for each in open_source(images, labels=table).classes] == ["=1+1", "\\x1b[2Jred"]


def test_links_are_followed_as_those_of_the_hubs_cache_need(images: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in LABELS:
        os.symlink(images / name, linked / name)
    (linked / "labels.csv").write_bytes(as_csv())
    assert labels_by_key(open_source(linked)) == LABELS


def test_from_the_command_line(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_bytes(as_csv())
    command = ["prepare", str(images), str(tmp_path / "store"), "--size", "16", "--labels", str(tmp_path / "a.csv")]
    assert main(command) == 0
    assert f"{tmp_path / 'a.csv'}: image in the column file and label in the column species." in capsys.readouterr().out
    assert main(command) == 0 and "already exists" in capsys.readouterr().out
    assert main([*command[:-1], str(tmp_path / "b.csv")]) == 1
    assert main(["prepare", str(images), str(tmp_path / "other"), "--labels", str(tmp_path / "b.csv")]) == 1
    assert "b.csv is not a file" in capsys.readouterr().err
