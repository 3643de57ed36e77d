"""Whatever happens to a store that is open, reading gives the right image or an error that names shard and row."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stores import TRAIN, edit, flip_byte, images, read_all, write_store, write_store_with_row

from alexnet.data.image.encode import encode
from alexnet.data.store.reader import Store
from alexnet.data.store.shard import Row
from alexnet.data.store.verify import verify_store


@pytest.mark.parametrize("name", ["train-00000.arrow", "train-00002.arrow"])
def test_a_shard_that_is_another_file_is_named(store: Path, name: str) -> None:
    length = (store / name).stat().st_size
    (store / name).write_bytes(bytes(length))
    split = Store(store).split("train")
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        _ = split.labels


def test_a_shard_with_another_number_of_rows_is_noticed(store: Path) -> None:
    edit(store, lambda info: [shard.update(rows=8) for shard in info["shards"][:2]])
    with pytest.raises(ValueError, match=r"train-00000.arrow does not hold 8 rows"):
        Store(store).split("train").encoded(0)


def test_an_image_that_does_not_decode_is_named_by_shard_and_row(tmp_path: Path) -> None:
    write_store_with_row(tmp_path / "noise", encode(TRAIN[10])[:-40])
    write_store_with_row(tmp_path / "large", encode(images(1, 20)[0]))
    for name, reason in (("noise", "cannot be decoded"), ("large", r"cannot be decoded \(it is 20x20 and not 16x16\)")):
        split = Store(tmp_path / name).split("train")
        split.image(9)
        for read in (lambda split=split: split.image(10), lambda name=name: verify_store(tmp_path / name)):
            with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, {reason}"):
                read()


@pytest.mark.parametrize("name", ["train-00000.arrow", "store.json", "mean.npy"])
def test_a_changed_byte_anywhere_is_an_error_on_reading_and_never_another_image(store: Path, name: str) -> None:
    expected, length, refused = read_all(store), (store / name).stat().st_size, 0
    positions = np.random.default_rng(0).permutation(length)[:120]
    for at in positions:
        flip_byte(store / name, int(at))
        reason = ""
        try:
            found = read_all(store)
        except ValueError as error:
            reason = str(error)
            refused += 1
        assert name in reason if reason else found == expected, at  # the same: padding and the like
        flip_byte(store / name, int(at))
    assert refused > 0.6 * len(positions)
    assert read_all(store) == expected


def test_a_changed_byte_names_shard_and_row(store: Path) -> None:
    image = encode(TRAIN[10])  # the fourth of the second shard
    data = (store / "train-00001.arrow").read_bytes()
    flip_byte(store / "train-00001.arrow", data.index(image) + len(image) // 2)
    split = Store(store).split("train")
    assert len({split.image(9).tobytes(), split.image(11).tobytes()}) == 2
    with pytest.raises(ValueError, match=rf"^{store}/train-00001.arrow, row 3, does not match its checksum: copy"):
        split.image(10)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_not_a_class_is_an_error_on_reading(tmp_path: Path, label: int) -> None:
    write_store_with_row(tmp_path / "store", encode(TRAIN[10]), label)
    with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, has label {label}, and there are 3 classes"):
        _ = Store(tmp_path / "store").split("train").labels


def test_a_store_that_is_deleted_while_it_is_read_is_an_error(store: Path) -> None:
    split = Store(store).split("train")
    first = split.image(0)
    shutil.rmtree(store)
    with pytest.raises(ValueError, match=r"train-00001.arrow is missing"):
        split.image(10)
    assert np.array_equal(split.image(0), first)  # the system keeps what is open


def test_a_shard_replaced_while_it_is_read_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is open, the old one is read. When it must be opened again, the new one is not taken for it."""
    monkeypatch.setattr("alexnet.data.store.open_shards.MAX_OPEN", 1)
    split = Store(store).split("train")
    expected = split.image(0)
    file = store / "train-00000.arrow"
    other = bytearray(file.read_bytes())
    shutil.copy(file, store / "new")
    (store / "new").write_bytes(other)
    (store / "new").replace(file)
    assert np.array_equal(split.image(1), TRAIN[1])
    split.image(10)  # another shard, for which the first is closed
    with pytest.raises(ValueError, match=r"train-00000.arrow was replaced while it was being read: run the same"):
        split.image(0)
    assert np.array_equal(Store(store).split("train").image(0), expected)


def test_a_shard_truncated_before_it_is_opened_is_an_error(store: Path) -> None:
    split = Store(store).split("train")
    os.truncate(store / "train-00000.arrow", 2000)
    with pytest.raises(ValueError, match=r"train-00000.arrow has 2000 bytes and not"):
        _ = split.labels


SHRINK = """
import os, sys
from alexnet.data.store.reader import Store
split = Store(sys.argv[1]).split("train")
split.image(0)
os.truncate(os.path.join(sys.argv[1], "train-00000.arrow"), int(sys.argv[2]))
for index in range(len(split)):
    try:
        split.image(index)
    except ValueError as error:
        sys.exit(str(error))
print("read on")
"""


@pytest.mark.parametrize("size", [5000, 0])
def test_a_shard_truncated_while_it_is_open_is_an_error(tmp_path: Path, size: int) -> None:
    """In a process of its own: the system would end a reader that maps the file."""
    every = [Row(encode(image), 0, "key") for image in images(40, 32)]
    write_store(tmp_path / "store", [every], [every[:1]], images(40, 32))
    command = [sys.executable, "-c", SHRINK, str(tmp_path / "store"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"train-00000.arrow, row \d+, cannot be read \(it ends before byte \d+\): copy the", done.stderr)


def intercept_reads(monkeypatch: pytest.MonkeyPatch, answer: Callable[[bytes], bytes]) -> None:
    """From now on, every read returns `answer` of what the system returned."""
    pread = os.pread
    monkeypatch.setattr("os.pread", lambda *where: answer(pread(*where)))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_disk_that_fails_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_: bytes) -> bytes:
        raise OSError(number, os.strerror(number))

    split = Store(store).split("train")
    split.image(0)
    intercept_reads(monkeypatch, fail)
    reason = rf"cannot be read \({os.strerror(number)}\): check that its disk is connected"
    with pytest.raises(ValueError, match=rf"^{store}/train-00000.arrow, row 3, {reason}"):
        split.image(3)
    with pytest.raises(ValueError, match=rf"^{store}/train-00001.arrow {reason}"):
        split.image(10)


def test_a_read_that_returns_less_than_asked_for_is_continued(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network disk may do so."""
    intercept_reads(monkeypatch, lambda data: data[: max(1, len(data) // 2)])
    assert [content for content, _, _ in read_all(store)][:17] == [image.tobytes() for image in TRAIN]


def test_a_file_that_ends_too_early_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Store(store).split("train")
    split.image(0)
    intercept_reads(monkeypatch, lambda data: b"")
    with pytest.raises(ValueError, match=r"train-00000.arrow, row 3, cannot be read \(it ends before byte \d+\): copy"):
        split.image(3)
    with pytest.raises(ValueError, match=r"train-00001.arrow cannot be read \(it ends before byte 8\): copy"):
        split.image(10)
