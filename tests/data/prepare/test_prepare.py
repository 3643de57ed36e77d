"""A source becomes a store, the same one however the work was shared, interrupted and resumed."""

import errno
import json
import pickle
import re
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from alexnet.data.image.decode import decode
from alexnet.data.image.encode import encode
from alexnet.data.image.formats import known_formats
from alexnet.data.image.resize import rescale
from alexnet.data.prepare import chunk
from alexnet.data.prepare import prepare as module
from alexnet.data.prepare.chunk import prepare_chunk
from alexnet.data.prepare.partial import PartialStore
from alexnet.data.prepare.prepare import prepare
from alexnet.data.prepare.summary import render
from alexnet.data.sources import open_source, read_bytes
from alexnet.data.store.reader import Store
from alexnet.data.store.shard import Shard
from alexnet.data.store.verify import verify_store

UNREADABLE = ("train/ant/04.png", "train/cat/01.png", "val/bee/00.png")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of six images, three at a time."""
    monkeypatch.setattr(chunk, "IMAGES_PER_CHUNK", 3)
    monkeypatch.setattr(chunk, "CHUNKS_PER_SHARD", 2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes of images of many shapes, 7 each for training and 3 for validation."""
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for split, count in (("train", 7), ("val", 3)):
        for wnid in ("ant", "bee", "cat"):
            (folder / split / wnid).mkdir(parents=True)
            for number in range(count):
                height, width = rng.integers(10, 40, 2)
                image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
                image.save(folder / split / wnid / f"{number:02}.png")
    return folder


def damage(source: Path, keys: Sequence[str] = UNREADABLE) -> None:
    for key in keys:
        (source / key).write_bytes(b"no image")


def content(store: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(store.iterdir())}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[str]:
    """Raise `error` instead of working on this chunk, once; return the keys of the images worked on."""
    worked, left = [], [number]

    def work(of: chunk.Chunk, options: chunk.ImageOptions) -> chunk.Prepared:
        if left and left[0] == 0:
            left.clear()
            raise error
        if left:
            left[0] -= 1
        worked.extend(image.key for image in of.images)
        return prepare_chunk(of, options)

    monkeypatch.setattr(chunk, "prepare_chunk", work)
    return worked


def test_every_image_is_stored_in_the_order_of_the_source(source: Path, tmp_path: Path) -> None:
    summary = prepare(source, tmp_path / "store", size=16, workers=1)
    assert summary["splits"] == {
        "train": {"images": 21, "skipped": 0},
        "val": {"images": 9, "skipped": 0},
    }
    assert summary["classes"] == 3
    store, opened = Store(tmp_path / "store"), open_source(source)
    assert store.classes == opened.classes
    for name, split in opened.splits.items():
        stored = store.split(name)
        for index, (key, label, location) in enumerate(split):
            assert (stored.key(index), stored.labels[index]) == (key, label)
            assert bytes(stored.encoded(index)) == encode(rescale(decode(read_bytes(location)), 16))
    verify_store(tmp_path / "store")
    assert sorted(content(tmp_path / "store")) == [
        "covariance.npy",
        "mean.npy",
        "store.json",
        *(f"train-{number:05}.arrow" for number in range(4)),
        *(f"val-{number:05}.arrow" for number in range(2)),
    ]
    assert sorted(tmp_path.iterdir()) == [source, tmp_path / "store"]


def test_mean_and_covariance_are_of_the_training_images_alone(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=16, workers=1)
    store = Store(tmp_path / "store")
    images = np.stack([store.split("train").image(index) for index in range(21)]).astype(np.float64)
    assert np.array_equal(store.mean, images.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(store.covariance, np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-12)


def test_mean_and_covariance_are_of_the_rescaled_images_before_jpeg(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "store", size=130, workers=1, quality=50)
    store, opened = Store(tmp_path / "store"), open_source(source)
    images = np.stack([rescale(decode(read_bytes(each.location)), 130) for each in opened.splits["train"]])
    assert np.array_equal(store.mean, images.astype(np.float64).mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(store.covariance, np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-12)
    verify_store(tmp_path / "store")


@pytest.mark.parametrize("size", [16, 130])
def test_the_store_does_not_depend_on_the_number_or_kind_of_workers(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    damage(source)
    for name, workers, processes_from in (("alone", 1, 0), ("threads", 2, 99), ("processes", 2, 0)):
        monkeypatch.setattr(module, "MIN_IMAGES_FOR_PROCESSES", processes_from)
        prepare(source, tmp_path / name, size=size, workers=workers, max_bad=0.2)
        assert content(tmp_path / name) == content(tmp_path / "alone")


def test_the_store_is_the_same_without_a_compiler(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for compiled in ("", "off"):
        monkeypatch.setenv("ALEXNET_KERNELS", compiled)
        prepare(source, tmp_path / f"store {compiled}", size=130, workers=2)
    assert content(tmp_path / "store ") == content(tmp_path / "store off")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 7, 8, 9])
def test_interrupted_anywhere_it_resumes_to_the_same_store(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    damage(source)
    options = {"size": 16, "workers": 1, "max_bad": 0.2}
    prepare(source, tmp_path / "whole", **options)
    store = tmp_path / "store"
    worked = interrupt_at(monkeypatch, number, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match="the same command resumes"):
        prepare(source, store, **options)
    assert not store.exists()
    before = set(worked)
    worked.clear()
    summary = prepare(source, store, **options)
    assert len(before & set(worked)) in ((0,) if number in (0, 2, 9) else (3,))  # of the shard it was at
    assert summary["splits"]["train"] == {"images": 19, "skipped": 2}
    assert content(store) == content(tmp_path / "whole")
    assert sorted(tmp_path.iterdir()) == [source, store, tmp_path / "whole"]


def test_a_full_disk_and_a_killed_worker_are_explained(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(source, tmp_path / "whole", size=16, workers=1)
    for error, message in (
        (OSError(errno.ENOSPC, "full"), r"No space is left for .*store.partial: free some"),
        (BrokenProcessPool(), "worker process was killed"),
    ):
        with monkeypatch.context() as patched:
            interrupt_at(patched, 4, error)
            with pytest.raises(ValueError, match=message) as caught:
                prepare(source, tmp_path / "store", size=16, workers=1)
        assert re.search("same command.* resumes", str(caught.value))
    prepare(source, tmp_path / "store", size=16, workers=1)
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_shard_that_could_not_be_written_is_not_counted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Shard.close

    def fail(shard: Shard, split: str):
        if shard.file.name == "train-00002.arrow":
            raise OSError(errno.ENOSPC, "full")
        return close(shard, split)

    with monkeypatch.context() as patched:
        patched.setattr(Shard, "close", fail)
        with pytest.raises(ValueError, match="No space is left"):
            prepare(source, tmp_path / "store", size=16, workers=1)
    assert not (tmp_path / "store.partial" / "train-00002.arrow").exists()
    prepare(source, tmp_path / "store", size=16, workers=1)
    assert verify_store(tmp_path / "store")["splits"] == {"train": 21, "val": 9}


def test_unreadable_images_are_skipped_and_listed(source: Path, tmp_path: Path) -> None:
    damage(source)
    summary = prepare(source, tmp_path / "store", size=16, workers=1, max_bad=0.1)
    assert summary["splits"] == {
        "train": {"images": 19, "skipped": 2},
        "val": {"images": 8, "skipped": 1},
    }
    skipped = json.loads((tmp_path / "store" / "store.json").read_text())["skipped"]
    assert [(each["split"], each["key"]) for each in skipped] == [(key.split("/")[0], key) for key in UNREADABLE]
    assert {each["reason"] for each in skipped} == {f"it is no {known_formats()} image"}
    assert summary["skipped_reasons"] == skipped
    keys = {Store(tmp_path / "store").split(name).key(i) for name, n in (("train", 19), ("val", 8)) for i in range(n)}
    assert keys.isdisjoint(UNREADABLE)
    verify_store(tmp_path / "store")


def claiming(height: int, width: int) -> bytes:
    """A PNG whose header claims a size that it does not hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_every_kind_of_unreadable_file_is_listed_with_its_reason(source: Path, tmp_path: Path) -> None:
    ant = source / "train" / "ant"
    whole = (ant / "00.png").read_bytes()
    unreadable = {
        "empty.png": (b"", "the file is empty"),
        "cut.png": (whole[: len(whole) // 2], "it cannot be decoded: .*truncated"),
        "text.jpg": (b"no image", "it is no JPEG, PNG, WebP, GIF, BMP, TIFF"),
        "bomb.png": (claiming(50_000, 50_000), "exceeds limit of"),
        "flat.png": (claiming(1, 2**31 - 1), "exceeds limit of"),
        "nothing.png": (claiming(0, 0), "it (is damaged PNG|cannot be decoded)"),
        "weights.pth": (pickle.dumps({"conv1": [1.0]}), "it is no JPEG"),
        "page.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is SVG, which cannot be decoded here"),
        "print.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no JPEG"),
    }
    for name, (data, _) in unreadable.items():
        (ant / name).write_bytes(data)
    (ant / "gone.png").symlink_to(ant / "nowhere.png")
    (ant / "png-in-truth.jpg").write_bytes(whole)
    summary = prepare(source, tmp_path / "store", size=16, workers=1, max_bad=1)
    reasons = {Path(each["key"]).name: each["reason"] for each in Store(tmp_path / "store").info["skipped"]}
    assert reasons.keys() == unreadable.keys() | {"gone.png"}
    for name, (_, reason) in unreadable.items():
        assert re.search(reason, reasons[name]), (name, reasons[name])
    assert "No such file" in reasons["gone.png"]
    assert summary["splits"]["train"] == {"images": 22, "skipped": 10}
    verify_store(tmp_path / "store")


def test_a_class_without_an_image_is_named(source: Path, tmp_path: Path) -> None:
    for file in (source / "train" / "bee").iterdir():
        file.unlink()
    summary = prepare(source, tmp_path / "store", size=16, workers=1)
    assert summary["empty_classes"] == ["bee"] and summary["classes"] == 3
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render(summary))
    assert "No training image in bee" in captured.get()


def test_too_many_unreadable_images_stop_it_with_a_list_and_what_to_do(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = [*UNREADABLE, *(f"train/bee/{number:02}.png" for number in range(7)), "val/cat/01.png"]
    damage(source, unreadable)
    with pytest.raises(ValueError, match="11 images cannot be read, and --max-bad allows 10") as caught:
        prepare(source, tmp_path / "store", size=16, workers=1, max_bad=10.9 / 30)
    message = str(caught.value)
    assert [key in message for key in sorted(unreadable)] == [True] * 10 + [False]
    listed = tmp_path / "store.partial" / "skipped.txt"
    assert f"1 more, listed in {listed}" in message
    assert [line.split(":")[0] for line in listed.read_text().splitlines()] == sorted(unreadable)
    worked = interrupt_at(monkeypatch, -1, KeyboardInterrupt())
    summary = prepare(source, tmp_path / "store", size=16, workers=1, max_bad=11 / 30)
    assert worked == []  # all of it was done
    assert summary["splits"]["train"]["skipped"] == 9
    assert not (tmp_path / "store" / "skipped.txt").exists()


def test_it_stops_as_soon_as_too_many_are_unreadable(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(source, [f"train/ant/{number:02}.png" for number in range(7)])
    monkeypatch.setattr(module, "MIN_IMAGES_BEFORE_STOPPING", 9)
    worked = interrupt_at(monkeypatch, -1, KeyboardInterrupt())
    with pytest.raises(ValueError, match="7 images cannot be read, and --max-bad allows 3"):
        prepare(source, tmp_path / "store", size=16, workers=1, max_bad=0.1)
    assert len(worked) == 9


def test_a_split_without_a_readable_image_is_an_error(source: Path, tmp_path: Path) -> None:
    damage(source, [f"val/{wnid}/{number:02}.png" for wnid in ("ant", "bee", "cat") for number in range(3)])
    with pytest.raises(ValueError, match=r"No image of the val split of .*images can be read"):
        prepare(source, tmp_path / "store", size=16, workers=1, max_bad=1)


def test_an_existing_store_is_left_alone(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(source, tmp_path / "store", size=16, workers=1)
    before = content(tmp_path / "store")
    monkeypatch.setattr(module, "open_source", None)
    again = prepare(source, tmp_path / "store", size=16, workers=1)
    assert (first["already_there"], again["already_there"]) == (False, True)
    assert again["splits"] == first["splits"]
    assert content(tmp_path / "store") == before


def test_existing_files_are_never_overwritten(source: Path, tmp_path: Path) -> None:
    store, folder, file = tmp_path / "store", tmp_path / "folder", tmp_path / "file"
    prepare(source, store, size=16, workers=1)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    file.write_text("mine")
    before = content(store), content(folder)
    for path, message in (
        (store, "exists, made from .* with size 16"),
        (folder, "exists and is not a store"),
        (file, "exists and is not a store"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            prepare(source, path, size=17, workers=1)
        assert "choose another name" in str(caught.value)
    assert (content(store), content(folder)) == before


def test_an_empty_folder_may_become_the_store(source: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "store").mkdir(parents=True)
    prepare(source, tmp_path / "deep" / "store", size=16, workers=1)
    verify_store(tmp_path / "deep" / "store")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 17}, "size 16, not 17"),
        ({"quality": 50}, "quality 95, not 50"),
        ({"seed": 1}, "seed 0, not 1"),
    ],
)
def test_a_partial_store_is_not_resumed_with_other_options(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    interrupt_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", size=16, workers=1)
    before = content(tmp_path / "store.partial")
    with pytest.raises(ValueError, match=f"store.partial was started with {message}: .* or delete it"):
        prepare(source, tmp_path / "store", **{"size": 16, "workers": 1, **change})
    assert content(tmp_path / "store.partial") == before


@pytest.mark.parametrize("damage", ["no sums", "cut sums", "pickled sums", "state", "shard"])
def test_a_damaged_partial_store_is_not_resumed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    interrupt_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", size=16, workers=1)
    partial = tmp_path / "store.partial"
    (sums,) = partial.glob("sums-*.npz")
    match damage:
        case "no sums":
            sums.unlink()
        case "cut sums":
            sums.write_bytes(sums.read_bytes()[:300])
        case "pickled sums":
            np.savez(sums, images=np.array([{}]), values=np.array([{}]), products=np.array([{}]))
        case "state":
            (partial / "state.json").write_text('{"plan": {}}')
        case "shard":
            (partial / "train-00000.arrow").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"store.partial.*delete"):
        prepare(source, tmp_path / "store", size=16, workers=1)


@pytest.mark.parametrize("change", ["remove", "add", "class"])
def test_a_partial_store_is_not_resumed_from_changed_images(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    interrupt_at(monkeypatch, 4, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "store", size=16, workers=1)
    if change == "remove":
        (source / "train/ant/00.png").unlink()
    elif change == "add":
        (source / "train/ant/0.png").write_bytes((source / "train/ant/00.png").read_bytes())
    else:
        for split in ("train", "val"):
            (source / split / "ant").rename(source / split / "ape")
    with pytest.raises(ValueError, match=r"store.partial .*delete it"):
        prepare(source, tmp_path / "store", size=16, workers=1)


def test_only_one_process_writes_a_store(source: Path, tmp_path: Path) -> None:
    with (
        PartialStore(tmp_path / "store", 16, {}),
        pytest.raises(ValueError, match=r"Another alexnet prepare is writing .*store.partial"),
    ):
        prepare(source, tmp_path / "store", size=16, workers=1)
    prepare(source, tmp_path / "store", size=16, workers=1)


def test_a_store_among_the_images_is_refused(source: Path) -> None:
    with pytest.raises(ValueError, match=r"is inside .*images, where it would be taken for a class"):
        prepare(source, source / "store", size=16, workers=1)


@pytest.mark.parametrize(
    ("option", "value"),
    [("size", 0), ("workers", -1), ("max_bad", 1.5), ("max_bad", -0.1), ("quality", 0), ("quality", 101)],
)
def test_impossible_options_are_named(source: Path, tmp_path: Path, option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"--{option.replace('_', '-')} is {value}"):
        prepare(source, tmp_path / "store", **{option: value})
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(("size", "encoding"), [(16, "png"), (130, "jpeg")])
def test_the_store_describes_itself(source: Path, tmp_path: Path, size: int, encoding: str) -> None:
    prepare(source, tmp_path / "store", size=size, workers=1, quality=90)
    info = Store(tmp_path / "store").info
    assert (info["version"], info["size"], info["encoding"], info["quality"]) == (1, size, encoding, 90)
    assert info["source"] == {"kind": "folder", "path": str(source.resolve())}
    assert info["classes"] == [["ant", "ant"], ["bee", "bee"], ["cat", "cat"]]


def test_a_validation_split_is_held_out_where_there_is_none(source: Path, tmp_path: Path) -> None:
    for fraction, expected in ((None, [18, 3]), (0.4, [12, 9]), (0.0, [21])):
        store = tmp_path / f"store {fraction}"
        splits = prepare(source / "train", store, size=16, workers=1, val_fraction=fraction)["splits"]
        assert [counts["images"] for counts in splits.values()] == expected


def test_the_summary_is_json_and_reads_well(source: Path, tmp_path: Path) -> None:
    damage(source)
    console = Console(width=200)
    for expected in ("3 classes", "already exists"):
        summary = prepare(source, tmp_path / "store", size=16, workers=1, max_bad=0.2)
        assert json.loads(json.dumps(summary)) == summary
        with console.capture() as captured:
            console.print(render(summary))
        for part in (expected, "19", "skipped train/ant/04.png: it is no JPEG", str(tmp_path / "store")):
            assert part in captured.get()
