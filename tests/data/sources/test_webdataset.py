"""WebDataset's shards, written by its own writer."""

import io
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import miniature
import pytest
from miniature import labels_by_key, tar_bytes

from alexnet.cli import main
from alexnet.data.sources import open_source, read_bytes, webdataset
from alexnet.data.store.reader import Store

NAMES = ("ant", "bee", "cicada")


def sample(number: int, **label: Any) -> dict[str, Any]:
    return {"__key__": f"{number:06}", "jpg": miniature.image(number), **label}


def shard(file: Path, samples: Sequence[Mapping[str, Any]]) -> Path:
    """A shard by WebDataset's own writer."""
    wds = pytest.importorskip("webdataset")
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as stream, wds.TarWriter(stream) as writer:
        for each in samples:
            writer.write(each)
    return file


LABELS: dict[str, Callable[[int], dict[str, Any]]] = {
    "cls": lambda n: {"cls": n % 3},
    "cls as text": lambda n: {"cls": NAMES[n % 3]},
    "json": lambda n: {"json": {"label": n % 3, "caption": "an insect", "size": [40, 30]}},
    "json with names": lambda n: {"json": {"class": NAMES[n % 3]}},
    "txt": lambda n: {"txt": NAMES[n % 3]},
    "cls before json and txt": lambda n: {"cls": n % 3, "json": {"label": 7}, "txt": "a caption"},
}


@pytest.mark.parametrize("form", LABELS)
def test_shards_give_each_image_with_its_label(tmp_path: Path, form: str) -> None:
    for number in range(2):
        samples = [sample(n, **LABELS[form](n)) for n in range(15 * number, 15 * number + 15)]
        shard(tmp_path / "w" / f"set-{number:06}.tar", samples)
    source = open_source(tmp_path / "w", val_fraction=0.2)
    assert source.kind == "webdataset" and {n: s.count for n, s in source.splits.items()} == {"train": 24, "val": 6}
    in_words = any(word in form for word in ("text", "names", "txt")) and "before" not in form
    expected = {f"set-{n // 15:06}.tar/{n:06}": NAMES[n % 3] if in_words else str(n % 3) for n in range(30)}
    assert labels_by_key(source) == expected
    for split in source.splits.values():
        for image in split:
            assert read_bytes(image.location) == miniature.image(int(image.key[-6:]))
    assert source.contents.images == 30


def test_its_own_reader_finds_the_same(tmp_path: Path) -> None:
    iterators = pytest.importorskip("webdataset.tariterators")
    file = shard(tmp_path / "w" / "set-0.tar", [sample(n, cls=n % 3) for n in range(9)])
    with open(file, "rb") as stream:
        samples = list(iterators.group_by_keys(iterators.tar_file_expander([{"stream": stream, "url": str(file)}])))
    theirs = [(each["__key__"], each["jpg"], each["cls"].decode()) for each in samples]
    source = open_source(file, val_fraction=0)
    ours = [
        (image.key.rpartition("/")[2], read_bytes(image.location), source.classes[image.label].wnid)
        for image in source.splits["train"]
    ]
    assert ours == theirs


def test_keys_are_text_whatever_the_names_of_the_shards(tmp_path: Path) -> None:
    for split in ("train", "val"):
        file = os.fsencode(tmp_path / "w" / split / "set-") + b"\xff.tar"
        shard(Path(os.fsdecode(file)), [sample(n, cls=n % 3) for n in range(6)])
    source = open_source(tmp_path / "w")
    assert [image.key for image in source.splits["val"]][:1] == [r"val/set-\xff.tar/000000"]


@pytest.mark.parametrize("layout", ["names", "folders"])
def test_splits_are_those_of_names_or_folders_and_numbers_have_names(tmp_path: Path, layout: str) -> None:
    for split, first in (("train", 0), ("validation", 12), ("test", 24)):
        file = f"insects-{split}-000000.tar" if layout == "names" else f"{split}/000000.tar"
        shard(tmp_path / "w" / file, [sample(n, cls=n % 3) for n in range(first, first + 12)])
    (tmp_path / "w" / "classnames.txt").write_text("ant\nbee\ncicada\nnever seen\n")
    source = open_source(tmp_path / "w")
    assert {name: split.count for name, split in source.splits.items()} == {"train": 12, "val": 12, "test": 12}
    assert [each.name for each in source.classes] == [*NAMES, "never seen"]
    assert all(label == NAMES[int(key[-6:]) % 3] for key, label in labels_by_key(source).items())


def test_a_pattern_with_braces_stands_for_its_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(9, 12):
        shard(Path(f"w/set-{number:04}.tar"), [sample(n, cls=n % 3) for n in range(10 * number, 10 * number + 10)])
    assert main(["prepare", "w/set-{0009..0011}.tar", "store", "--size", "16"]) == 0
    assert Store("store").splits == {"train": 27, "val": 3}
    assert main(["prepare", "w/set-{0009..0011}.tar", "store", "--size", "16"]) == 0
    assert "already exists" in capsys.readouterr().out
    assert main(["prepare", "w/set-{0009..0013}.tar", "other"]) == 1
    assert "2 of its 5 files are missing: w/set-0012.tar, w/set-0013.tar" in capsys.readouterr().err
    assert len(webdataset.expanded(Path("w/set-00{09,1{0..1}}.tar".replace("{0..1}", "0"))) or ()) == 2
    assert webdataset.expanded(Path("w/set-0009.tar")) is None
    with pytest.raises(ValueError, match="more than 65,536 files"):
        webdataset.expanded(Path("{0..999999}{0..999999}.tar"))


def test_class_folders_win_over_an_archive_beside_them(tmp_path: Path) -> None:
    folder = miniature.folder(tmp_path / "images", {"a": 2, "b": 2})
    (folder / "images.tar").write_bytes(tar_bytes([("a.jpg", b"x")]))
    assert open_source(folder).kind == "folder"


def test_a_sample_in_a_folder_of_the_tar_or_with_dots_keeps_its_files_together(tmp_path: Path) -> None:
    files = []
    for number in range(6):
        for ending, content in (
            ("seg.png", b"no image"),
            ("jpg", miniature.image(number)),
            ("cls", b"%d" % (number % 2)),
        ):
            files.append((f"a/{number}.{ending}", content))
    (tmp_path / "x.tar").write_bytes(tar_bytes(files))
    source = open_source(tmp_path / "x.tar", val_fraction=0)
    assert labels_by_key(source) == {f"x.tar/a/{n}": str(n % 2) for n in range(6)}


GOOD = [
    (f"{n}.{ending}", content) for n in range(4) for ending, content in (("jpg", b"image"), ("cls", b"%d" % (n % 2)))
]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([*GOOD, ("9.jpg", b"x")], "sample 9 has no label .cls, json, txt.; it has jpg"),
        ([*GOOD, ("9.cls", b"1")], "sample 9 has no image"),
        ([*GOOD, ("9.jpg", b"x"), ("9.cls", b" \n")], "sample 9: its .cls is empty"),
        ([*GOOD, ("9.jpg", b"x"), ("9.cls", b"1" * 70_000)], "sample 9 has a label of more than 64 KiB"),
        ([*GOOD, ("9.jpg", b"x"), ("9.cls", b"1" * 2000)], "is longer than 1,000 letters"),
        ([*GOOD, ("9.jpg", b"x"), ("9.cls", b"a\xff\xfe")], "its .cls is no text"),
        ([*GOOD, ("9.jpg", b"x"), ("9.json", b"[1]")], "its .json is no object"),
        ([*GOOD, ("9.jpg", b"x"), ("9.json", b"{")], "sample 9: "),
        ([*GOOD, ("9.jpg", b"x"), ("9.json", b"[" * 60_000)], "sample 9: it is nested more than"),
        ([*GOOD, ("9.jpg", b"x"), ("9.json", b'{"caption": "x"}')], "its .json has no label .it has caption.: choose"),
        ([*GOOD, ("9.jpg", b"x"), ("9.json", b'{"label": [1]}')], "its .json has no label"),
        ([*GOOD, *GOOD[:2]], "names x.tar/0 twice"),
        ([*GOOD, *((f"9.{n}", b"") for n in range(101))], "more than 100 files"),
        ([("readme", b"")], "has no image"),
        ([], "no labelled images"),
    ],
)
def test_a_shard_that_is_something_else_is_a_sentence(
    tmp_path: Path, files: list[tuple[str, bytes]], message: str
) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes(files))
    with pytest.raises(ValueError, match=message) as caught:
        open_source(tmp_path / "x.tar")
    assert "x.tar" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_a_shard_that_is_cut_off_or_holds_links_is_refused_and_paths_are_only_names(tmp_path: Path) -> None:
    whole = tar_bytes(GOOD)
    (tmp_path / "x.tar").write_bytes(whole[:-3000])
    with pytest.raises(ValueError, match="damaged or cut off: download it again"):
        open_source(tmp_path / "x.tar")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("0.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "y.tar").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="links in archives are not followed"):
        open_source(tmp_path / "y.tar")
    (tmp_path / "z.tar").write_bytes(tar_bytes([(f"../../{name}", content) for name, content in GOOD]))
    source = open_source(tmp_path / "z.tar", val_fraction=0)
    assert sorted(labels_by_key(source)) == [f"z.tar/../../{n}" for n in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.tar", "y.tar", "z.tar"]


def test_shards_of_which_only_some_say_their_split_are_refused(tmp_path: Path) -> None:
    for name in ("train-0.tar", "more.tar"):
        shard(tmp_path / name, [sample(n, cls=n % 2) for n in range(4)])
    with pytest.raises(ValueError, match=r"train-0.tar says by its name .* more.tar says none"):
        open_source(tmp_path)


def test_a_number_without_a_name_is_refused(tmp_path: Path) -> None:
    shard(tmp_path / "w" / "x.tar", [sample(n, json={"label": n}) for n in range(4)])
    (tmp_path / "w" / "classnames.txt").write_text("ant\nbee\n")
    with pytest.raises(ValueError, match=r"label '2' is not one of the 2 classes of classnames.txt"):
        open_source(tmp_path / "w")
