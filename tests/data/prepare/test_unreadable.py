"""Unreadable images are skipped and listed; too many of them stop the work."""

import json
import pickle
import re
import struct
import zlib
from pathlib import Path

import pytest
from preparing import UNREADABLE, damage, interrupt_at
from rich.console import Console

from alexnet.data.image.formats import known_formats
from alexnet.data.prepare import prepare as module
from alexnet.data.prepare.checks import allowed_bad
from alexnet.data.prepare.prepare import prepare
from alexnet.data.prepare.summary import render
from alexnet.data.store.reader import Store
from alexnet.data.store.verify import verify_store

pytestmark = pytest.mark.usefixtures("small_shards")


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
        "weights.bin": (pickle.dumps({"conv1": [1.0]}), "it is no JPEG"),
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
        prepare(source, tmp_path / "store", size=16, workers=1, max_bad=9.9 / 30)
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


@pytest.mark.parametrize(
    ("images", "max_bad", "allowed"), [(30, 0.01, 1), (150, 0.01, 2), (200, 0.01, 2), (100, 0.07, 7)]
)
def test_a_fraction_of_bad_images_is_rounded_up(images: int, max_bad: float, allowed: int) -> None:
    assert allowed_bad(max_bad, images) == allowed
    assert allowed_bad(0.0, images) == 0


def test_one_bad_image_stops_no_small_set(source: Path, tmp_path: Path) -> None:
    damage(source, UNREADABLE[:1])
    assert prepare(source, tmp_path / "store", size=16, workers=1)["splits"]["train"]["skipped"] == 1
    damage(source, UNREADABLE[:2])
    with pytest.raises(ValueError, match="2 images cannot be read, and --max-bad allows 1"):
        prepare(source, tmp_path / "other", size=16, workers=1)
    with pytest.raises(ValueError, match="2 images cannot be read, and --max-bad allows 0"):
        prepare(source, tmp_path / "third", size=16, workers=1, max_bad=0)
