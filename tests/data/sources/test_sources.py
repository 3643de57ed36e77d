"""What all kinds of sources have in common, and how a new kind is added."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import miniature
import pytest

from alexnet.data import sources
from alexnet.data.classes import Class
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources import KINDS, known_layouts, open_source, read_bytes
from alexnet.data.sources.held_out import ClassListing, split_classes
from alexnet.data.sources.source import Choices, FileAt, LabelledImage, Source, SourceKind
from alexnet.data.sources.tar import TarAt
from alexnet.data.store.reader import Store
from alexnet.data.store.verify import verify_store

BUILDERS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda root: miniature.folder(root, {"train/a": 3, "train/b": 2, "val/a": 1, "val/b": 2}),
    "annotated": miniature.annotated,
    "ilsvrc2012": miniature.ilsvrc2012,
    "kaggle": miniature.kaggle,
    "parquet": miniature.hub,
    "listed": miniature.listed,
    "webdataset": miniature.webdataset,
    "cifar": miniature.cifar,
}


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_kind_of_source_is_detected_and_keeps_its_promises(tmp_path: Path, kind: str) -> None:
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


def test_a_path_that_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing does not exist"):
        open_source(tmp_path / "nothing")
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"set.zip is a file, .* unpack it"):
        open_source(tmp_path / "set.zip")
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match="fraction"):
            open_source(tmp_path, fraction)


def test_a_file_that_is_too_large_or_truncated_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_message_for_an_unknown_layout_lists_every_kind(tmp_path: Path) -> None:
    for kind in KINDS:
        assert kind.looks in known_layouts()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        open_source(tmp_path)
    assert str(caught.value) == f"{tmp_path} holds no images in a known layout: expected one of: {known_layouts()}"


def test_the_first_kind_that_detects_something_opens_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kaggle's layout holds class folders too."""
    root = miniature.kaggle(tmp_path) / "ILSVRC/Data/CLS-LOC"
    assert [kind.name for kind in KINDS if kind.detect(root) is not None] == ["kaggle", "folder"]
    assert open_source(root).kind == "kaggle"
    monkeypatch.setattr(sources, "KINDS", KINDS[::-1])
    with pytest.raises(ValueError, match="val holds no class folders"):
        open_source(root)


# A new kind of source, as CONTRIBUTING.md describes it: what its file would hold, up to the line in KINDS.


def detect_list(path: Path) -> Path | None:
    return path / "images.csv" if (path / "images.csv").is_file() else None


def open_list(path: Path, table: Path, choices: Choices) -> Source:
    rows = [line.split(",") for line in table.read_text().splitlines()]
    classes = tuple(Class(name, name) for name in sorted({name for _, name in rows}))

    def listings() -> Iterator[ClassListing]:
        for label, (wnid, _) in enumerate(classes):

            def image(name: str, label: int = label) -> LabelledImage:
                return LabelledImage(name, label, FileAt(str(path / name)))

            yield ClassListing(wnid, [(name,) for name, of in rows if of == wnid], image)

    def counts() -> list[int]:
        return [sum(of == wnid for _, of in rows) for wnid, _ in classes]

    return Source(LIST.name, path, classes, split_classes(listings, counts, choices.val_fraction or 0.0, choices.seed))


LIST = SourceKind("list", "images.csv with lines FILE,CLASS", detect=detect_list, open=open_list)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Twelve images in one folder, with a list of their classes."""
    folder = tmp_path / "listed"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(miniature.image(number))
    (folder / "images.csv").write_text("".join(f"{n}.jpg,{('cat', 'ant')[n % 2]}\n" for n in range(12)))
    return folder


def test_a_new_kind_of_source_is_one_object_and_one_line(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="holds images but no class folders: put the images of each class into"):
        open_source(listed)
    monkeypatch.setattr(sources, "KINDS", (LIST, *KINDS))
    assert open_source(listed).kind == "list"
    summary = prepare(listed, tmp_path / "store", size=16, workers=2, val_fraction=0.3)
    assert summary["splits"] == {"train": {"images": 8, "skipped": 0}, "val": {"images": 4, "skipped": 0}}
    store = Store(tmp_path / "store")
    source = store.info["source"]
    assert (source["kind"], source["path"], source["images"]) == ("list", str(listed.resolve()), 12)
    assert [each.wnid for each in store.classes] == ["ant", "cat"]
    seen = {}
    for split in (store.split("train"), store.split("val")):
        seen |= {split.key(index): int(split.labels[index]) for index in range(len(split))}
    assert seen == {f"{number}.jpg": (1, 0)[number % 2] for number in range(12)}
    verify_store(tmp_path / "store")


def test_a_new_kind_of_source_is_named_where_nothing_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "KINDS", (*KINDS, LIST))
    with pytest.raises(ValueError, match=r"images\.csv with lines FILE,CLASS"):
        open_source(tmp_path)
