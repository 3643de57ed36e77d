"""Parquet files in the layout of the Hugging Face hub."""

import json
from collections.abc import Callable
from pathlib import Path

import miniature
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from miniature import fingerprint

from alexnet.data.classes import ilsvrc2012
from alexnet.data.sources import Source, open_source, read_bytes
from alexnet.data.sources.parquet_file import ParquetAt

NAMES = ["cat", "ant", "bee"]


def rows(count: int, seed: int = 0, classes: int = 3) -> list[tuple[bytes, int]]:
    return [(miniature.image(seed + n), (n * n + 1) % classes) for n in range(count)]


def test_labels_follow_the_sorted_names_and_bytes_the_rows(tmp_path: Path) -> None:
    train, val = rows(11), rows(5, seed=100)
    miniature.parquet(tmp_path / "train-00000-of-00002.parquet", train[:6], NAMES)
    miniature.parquet(tmp_path / "train-00001-of-00002.parquet", train[6:], NAMES)
    miniature.parquet(tmp_path / "validation-00000-of-00001.parquet", val, NAMES)
    source = open_source(tmp_path)
    assert [each.wnid for each in source.classes] == sorted(NAMES)
    for split, expected in (("train", train), ("val", val)):
        found = [(fingerprint(read_bytes(p.location)), source.classes[p.label].wnid) for p in source.splits[split]]
        assert found == [(fingerprint(data), NAMES[label]) for data, label in expected]


def test_any_row_can_be_read_in_any_order(tmp_path: Path) -> None:
    written = rows(23)
    file = miniature.parquet(tmp_path / "train.parquet", written, NAMES, row_group_size=5)
    for row in [*np.random.default_rng(0).permutation(23).tolist(), 22, 0, 4, 5, 4]:
        data = read_bytes(ParquetAt(str(file), "image.bytes", row))
        assert fingerprint(data) == fingerprint(written[row][0])
    with pytest.raises(ValueError, match="has no row 23"):
        read_bytes(ParquetAt(str(file), "image.bytes", 23))


@pytest.mark.parametrize("build", [miniature.hub, lambda root: miniature.hub(root) / "data"])
def test_the_hubs_layout_is_found_from_both_folders(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    source = open_source(build(tmp_path))
    assert source.kind == "parquet"
    assert not any(p.key.startswith("test") for split in source.splits.values() for p in split)


def test_a_labelled_test_split_serves_as_validation(tmp_path: Path) -> None:
    miniature.parquet(tmp_path / "train-00000-of-00001.parquet", rows(6), NAMES)
    miniature.parquet(tmp_path / "test-00000-of-00001.parquet", rows(3), NAMES)
    assert open_source(tmp_path).splits["val"].count == 3
    miniature.parquet(tmp_path / "test-00000-of-00001.parquet", [(b"x", -1)] * 3, NAMES)
    with pytest.raises(ValueError, match="holds no validation-"):
        open_source(tmp_path)


def test_the_thousand_classes_get_their_wnids(tmp_path: Path) -> None:
    table = ilsvrc2012()
    words = list(table.values())
    words[134] = "crane bird"  # lists differ in a few
    images = [(miniature.image(n), label) for n, label in enumerate((0, 999, 500))]
    miniature.hub(tmp_path, words)
    miniature.parquet(tmp_path / "data" / "train-00000-of-00001.parquet", images, words)
    for stale in (tmp_path / "data").glob("train-*-of-00002.parquet"):
        stale.unlink()
    source = open_source(tmp_path)
    assert [tuple(each) for each in source.classes] == list(table.items())
    assert [image.label for image in source.splits["train"]] == [0, 999, 500]


def test_names_that_are_wnids_become_the_wnids(tmp_path: Path) -> None:
    source = open_source(miniature.hub(tmp_path, ("n02119789", "n01440764")))
    assert source.classes == (("n01440764", "tench, Tinca tinca"), ("n02119789", ilsvrc2012()["n02119789"]))
    assert [p.label for p in source.splits["train"]][:4] == [1, 0, 1, 0]


def written(file: Path, names: list[str], labels: list[int]) -> None:
    miniature.parquet(file, [(miniature.image(n), label) for n, label in enumerate(labels)], names)


def names_of(source: Source, split: str) -> list[str]:
    return [source.classes[image.label].wnid for image in source.splits[split]]


def test_names_that_are_numbered_apart_are_mapped_by_name(tmp_path: Path) -> None:
    written(tmp_path / "train-00000-of-00002.parquet", ["ant", "bee", "cow"], [0, 1, 2])
    written(tmp_path / "train-00001-of-00002.parquet", ["cow", "dog", "ant"], [0, 1, 2])
    written(tmp_path / "validation-00000-of-00001.parquet", ["bee", "cow"], [0, 1, 0, 1])
    source = open_source(tmp_path)
    assert [each.wnid for each in source.classes] == ["ant", "bee", "cow", "dog"]
    assert names_of(source, "train") == ["ant", "bee", "cow", "cow", "dog", "ant"]
    assert names_of(source, "val") == ["bee", "cow", "bee", "cow"]


def test_names_that_cannot_be_mapped_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "train.parquet", ["ant", "bee"], [0, 1])
    written(tmp_path / "validation.parquet", ["bee", "cow"], [0, 1])
    with pytest.raises(ValueError, match=r"validation.parquet has classes that .*train.parquet does not have: cow"):
        open_source(tmp_path)
    miniature.parquet(tmp_path / "validation.parquet", [(b"x", 0)], None, hub=False)
    with pytest.raises(ValueError, match=r"train.parquet names its labels and .*validation.parquet does not"):
        open_source(tmp_path)


def table_of(**columns: object) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def described(table: pa.Table, **features: object) -> pa.Table:
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


IMAGES, CLASSES = {"_type": "Image"}, {"_type": "ClassLabel", "names": ["x", "y"]}


def test_image_and_label_are_preferred_and_options_choose(tmp_path: Path) -> None:
    bytes_of = [[miniature.image(100 * column + row) for row in range(4)] for column in range(3)]
    table = table_of(
        mask=bytes_of[0],
        image=bytes_of[1],
        coarse=[0, 0, 1, 1],
        label=[0, 1, 0, 1],
        other=bytes_of[2],
        fine=[1, 1, 1, 0],
    )
    features = dict.fromkeys(("mask", "image", "other"), IMAGES)
    features |= dict.fromkeys(("coarse", "label", "fine"), CLASSES)
    pq.write_table(described(table, **features), tmp_path / "train.parquet")

    def found(image_column: str | None = None, label_column: str | None = None) -> list[tuple[str, str]]:
        source = open_source(tmp_path, 0.0, image_column=image_column, label_column=label_column)
        return [
            (fingerprint(read_bytes(image.location)), source.classes[image.label].wnid)
            for image in source.splits["train"]
        ]

    prints = [[fingerprint(each) for each in column] for column in bytes_of]
    assert found() == list(zip(prints[1], "xyxy", strict=True))
    assert found(image_column="mask", label_column="fine") == list(zip(prints[0], "yyyx", strict=True))
    with pytest.raises(ValueError, match=r"has no column 'none' \(it has mask, image, coarse, label, other, fine\)"):
        found(image_column="none")
    pq.write_table(described(table.drop_columns(["image"]), **features), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="several columns of images, mask, other: choose one with --image-column"):
        found()
    pq.write_table(described(table.drop_columns(["label"]), **features), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="several columns of labels, coarse, fine: choose one with --label-column"):
        found()


def test_columns_of_what_has_none_are_refused(tmp_path: Path) -> None:
    miniature.folder(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(ValueError, match=r"has no columns .*: leave out --image-column and --label-column"):
        open_source(tmp_path, image_column="image")


BYTES = [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (table_of(image=[[1, 2]] * 4, label=[0, 1, 0, 1]), "column 'image' is of type list<.*, not encoded images"),
        (table_of(image=["a"] * 4, label=[0, 1, 0, 1]), "column 'image' is of type string, not encoded images"),
        (table_of(image=[{"bytes": 1}] * 4, label=[0, 1, 0, 1]), "has no field 'bytes'"),
        (table_of(image=BYTES, label=[0.5, 1, 0, 1]), "labels are of type double, neither numbers nor words"),
        (table_of(image=BYTES, label=BYTES), "labels are of type binary, neither numbers nor words"),
        (
            pa.table({"image": pa.array(BYTES), "label": pa.array([0, 1, 0, 1], pa.timestamp("us"))}),
            r"labels are of type timestamp\[us\], neither",
        ),
        (
            pa.table({"image": pa.array(BYTES), "label": pa.array([0, 1, 0, 1]).cast(pa.decimal128(20))}),
            "labels are of type decimal",
        ),
        (table_of(image=BYTES, label=[0, None, 0, 1]), "row 1, has no label"),
        (
            pa.Table.from_arrays([pa.array(BYTES), *[pa.array([0, 1, 0, 1])] * 2], ["image", "label", "label"]),
            "two columns",
        ),
        *(
            (
                described(table_of(image=BYTES, label=[0, 1, 0, 1]), label={"_type": "ClassLabel", "names": names}),
                "describes its labels by something other than a list of names",
            )
            for names in (5, "ab", {"a": 1}, [["x"], ["y"]], [{"x": 1}, {"y": 1}], ["a" * 1001, "b"])
        ),
        (described(table_of(image=BYTES, label=["x", "y"] * 2), label=CLASSES), "of type string, but its description"),
        (
            table_of(image=BYTES, label=[0, 1, 0, 1]).replace_schema_metadata({"huggingface": "[" * 100_000}),
            "description that cannot be read .*nested",
        ),
        (table_of(image=BYTES, label=[0, 1, 0, 1]).replace_schema_metadata({"huggingface": "[1]"}), "is not the hub's"),
    ],
)
def test_wrong_types_are_refused_in_a_sentence(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=rf"train.parquet.*{message}") as caught:
        list(open_source(tmp_path, 0.0).splits["train"])
    assert type(caught.value) is ValueError and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "labels", [["x", "y", "x", "y"], [True, False] * 2, pa.array(["x", "y"] * 2).dictionary_encode()]
)
def test_words_and_truth_values_are_labels(tmp_path: Path, labels: object) -> None:
    table = pa.table({"image": pa.array(BYTES), "label": labels if isinstance(labels, pa.Array) else pa.array(labels)})
    pq.write_table(table, tmp_path / "train.parquet")
    source = open_source(tmp_path, 0.0)
    assert names_of(source, "train") == [str(label) for label in table["label"].to_pylist()]


def test_names_of_strangers_are_made_visible(tmp_path: Path) -> None:
    rows = [{"bytes": each, "path": "../\x1b[2J\n\u202e" * 100} for each in BYTES]
    table = table_of(image=rows, label=["\x1b[31mred\n", "<script>", "=cmd()", "x"])
    pq.write_table(table, tmp_path / "train.parquet")
    source = open_source(tmp_path, 0.0)
    keys = [image.key for image in source.splits["train"]]
    assert all(key.isprintable() and len(key) < 10_000 for key in keys)
    assert {each.wnid for each in source.classes} == {"\\x1b[31mred\\n", "<script>", "=cmd()", "x"}


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    source = open_source(miniature.hub(tmp_path))
    assert source.remarks == (f"{tmp_path / 'data' / 'test'}-*.parquet is left out: it has no labels",)


def test_labelled_test_files_are_a_third_split_or_validate_where_nothing_else_does(tmp_path: Path) -> None:
    for name, count in (("train", 12), ("validation", 4), ("test", 6)):
        miniature.parquet(tmp_path / f"{name}.parquet", [(b"x", n % 2) for n in range(count)], ("a", "b"))
    counts = {name: split.count for name, split in open_source(tmp_path).splits.items()}
    assert counts == {"train": 12, "val": 4, "test": 6}
    (tmp_path / "validation.parquet").unlink()
    counts = {name: split.count for name, split in open_source(tmp_path).splits.items()}
    assert counts == {"train": 12, "val": 6}
    counts = {name: split.count for name, split in open_source(tmp_path, 0.5).splits.items()}
    assert counts == {"train": 6, "val": 6, "test": 6}


def test_a_schema_without_names_gives_numbers(tmp_path: Path) -> None:
    for name in ("train", "validation"):
        miniature.parquet(tmp_path / f"{name}.parquet", [(b"x", label) for label in (7, 3, 7)], None, hub=False)
    source = open_source(tmp_path)
    assert [each.wnid for each in source.classes] == ["3", "7"]
    assert [p.label for p in source.splits["train"]] == [1, 0, 1]


def test_without_validation_files_a_fraction_of_every_class_is_held_out(tmp_path: Path) -> None:
    for shard in range(2):
        written = [(b"x", label) for label in (0, 0, 0, 0, 0, 1, 1, 1, 1, 2)]
        miniature.parquet(tmp_path / f"train-{shard}.parquet", written, NAMES)
    with pytest.raises(ValueError, match="holds no validation-"):
        open_source(tmp_path)
    assert set(open_source(tmp_path, 0.0).splits) == {"train"}
    source = open_source(tmp_path, 0.25)
    everything = {p.key for p in open_source(tmp_path, 0.0).splits["train"]}
    train, val = ({p.key for p in split} for split in source.splits.values())
    assert train | val == everything
    assert not train & val
    assert (source.splits["train"].count, source.splits["val"].count) == (len(train), len(val))
    held = [source.classes[p.label].wnid for p in source.splits["val"]]
    assert {name: held.count(name) for name in NAMES} == {"cat": 2, "ant": 2, "bee": 1}
    assert {p.key for p in open_source(tmp_path, 0.25).splits["val"]} == val
    assert {p.key for p in open_source(tmp_path, 0.25, seed=1).splits["val"]} != val


def test_a_row_without_an_image_is_unreadable(tmp_path: Path) -> None:
    file = miniature.parquet(tmp_path / "train.parquet", [(None, 0), (b"x", 1)], NAMES)
    with pytest.raises(ValueError, match="the row holds no image"):
        read_bytes(ParquetAt(str(file), "image.bytes", 0))
    assert read_bytes(ParquetAt(str(file), "image.bytes", 1)) == b"x"


def test_labels_that_are_lists_are_refused(tmp_path: Path) -> None:
    table = pa.table({"image": [miniature.image(n) for n in range(2)], "label": [[0], [1]]})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match=r"the labels are of type list<.*>, neither numbers nor words"):
        open_source(tmp_path, val_fraction=0)


def test_a_label_that_is_not_a_class_is_refused(tmp_path: Path) -> None:
    miniature.hub(tmp_path)
    file = miniature.parquet(tmp_path / "data/train-00001-of-00002.parquet", [(b"x", 0), (b"x", 3)], list("abc"))
    with pytest.raises(ValueError, match=f"{file}, row 1: label 3 is not one of the 3 classes"):
        list(open_source(tmp_path).splits["train"])


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    data = miniature.hub(tmp_path) / "data"
    second = data / "train-00001-of-00002.parquet"
    content = second.read_bytes()
    second.unlink()
    with pytest.raises(ValueError, match=r"has 1 of the 2 files that train-00000-.* belongs to"):
        open_source(tmp_path)
    second.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{second} is not a whole Parquet file .*: download it again"):
        list(open_source(tmp_path).splits["train"])
    for file in data.glob("train*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"holds test-.* but no train-\*.parquet"):
        open_source(tmp_path)


def test_a_damaged_file_is_refused_in_a_sentence_wherever_it_is_damaged(tmp_path: Path) -> None:
    file = miniature.parquet(tmp_path / "train.parquet", rows(6), NAMES)
    data, rng, refused = file.read_bytes(), np.random.default_rng(0), 0
    for at in range(len(data) - 1, len(data) - 700, -7):  # where the description lies
        damaged = bytearray(data)
        damaged[at] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            for image in open_source(tmp_path, 0.0).splits["train"]:
                read_bytes(image.location)
        except ValueError as error:
            assert type(error) is ValueError and str(tmp_path) in str(error) and "\n" not in str(error)  # noqa: PT017
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("names", [["only"], ["crane", "crane"]])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"labels with 1 different names: at least two"):
        open_source(miniature.hub(tmp_path, names))


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"has no column 'image' .it has text, label."):
        open_source(tmp_path)


def test_memory_does_not_grow_with_the_row_group(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(200_000)
    count = 200
    file = miniature.parquet(tmp_path / "train.parquet", [(noise, 0)] * (count - 1) + [(b"x", 1)], NAMES, count)
    before, most = pa.total_allocated_bytes(), 0
    for row in range(count - 1):
        assert len(read_bytes(ParquetAt(str(file), "image.bytes", row))) == len(noise)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 16_000_000  # the row group has 40 million
