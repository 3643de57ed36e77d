"""What is in a store comes out of it, by any reader; what is wrong with one is said."""

import errno
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from stores import CLASSES, images, rows, write_store

from alexnet.data.image.encode import encode
from alexnet.data.prepare.partial import Partial
from alexnet.data.store.info import seal
from alexnet.data.store.reader import Store, verify_store
from alexnet.data.store.shard import Row
from alexnet.files.checksums import checksum

TRAIN, VAL = images(17), images(4, seed=1)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three training shards of 7, 9 and 1 rows in batches of 3, and one of validation."""
    for module in ("store.shard", "prepare.partial"):
        monkeypatch.setattr(f"alexnet.data.{module}.BATCH_ROWS", 3)
    every = rows(TRAIN)
    path = tmp_path / "store"
    write_store(path, [every[:7], every[7:16], every[16:]], [rows(VAL)], TRAIN)
    return path


def edit(path: Path, change: Callable[[dict], object]) -> None:
    """Changes store.json and its checksum."""
    info = json.loads((path / "store.json").read_text())
    change(info)
    (path / "store.json").write_text(json.dumps(seal(info)))


def flip_byte(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(data)


def test_every_row_comes_back_in_its_place(store: Path) -> None:
    opened = Store(store)
    assert opened.splits == {"train": 17, "val": 4}
    assert [list(each) for each in opened.classes] == CLASSES
    for name, content in (("train", TRAIN), ("val", VAL)):
        split = opened.split(name)
        assert len(split) == len(content)
        for index in np.random.default_rng(0).permutation(len(content)):
            assert bytes(split.encoded(index)) == encode(content[index])
            assert np.array_equal(split.image(index), content[index])
            assert split.key(index) == f"image {index}"
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == [index % 3 for index in range(len(content))]


def test_mean_and_covariance_are_those_of_the_images(store: Path) -> None:
    opened = Store(store)
    np.testing.assert_allclose(opened.mean, TRAIN.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(opened.covariance, np.cov(TRAIN.reshape(-1, 3).T, bias=True), rtol=1e-12)
    assert opened.mean.dtype == np.float32


def test_files_are_closed_with_the_split(store: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    split = Store(store).split("train")
    assert len(os.listdir("/dev/fd")) == before
    for index in range(len(split)):
        split.encoded(index)
    assert len(os.listdir("/dev/fd")) == before + 3
    del split
    assert len(os.listdir("/dev/fd")) == before


def test_no_more_files_are_open_than_may_be(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.store.reader.MOST_OPEN", 2)
    before = len(os.listdir("/dev/fd"))
    split = Store(store).split("train")
    for index in (0, 8, 16) * 3:
        assert bytes(split.encoded(index)) == encode(TRAIN[index])
        assert len(os.listdir("/dev/fd")) <= before + 2
    with ThreadPoolExecutor(8) as pool:  # a file that one thread closes is still open for another that reads from it
        order = np.random.default_rng(0).integers(0, len(split), 2000)
        found = list(pool.map(lambda index: bytes(split.encoded(index)), order))
    assert found == [encode(TRAIN[index]) for index in order]


def test_a_fork_reads_on(store: Path) -> None:
    """From the same open files, at the same time, whatever the parent's threads were doing."""
    split = Store(store).split("train")
    split.encoded(0)
    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(split.encoded, index % 17) for index in range(4000)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is what is tried
            child = os.fork()
        if child == 0:
            wrong = [index for index in range(17) if bytes(split.encoded(index)) != encode(TRAIN[index])]
            os._exit(len(wrong))
        assert os.waitpid(child, 0)[1] == 0
    assert all(bytes(done.result()) == encode(TRAIN[i % 17]) for i, done in enumerate(reading))


def test_an_opened_split_cannot_be_pickled(store: Path) -> None:
    """Its open files would be other files in another process."""
    split = Store(store).split("train")
    split.encoded(0)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(split)


def test_labels_cannot_be_written(store: Path) -> None:
    labels = Store(store).split("val").labels
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1


def test_many_threads_may_read_at_once(store: Path) -> None:
    split = Store(store).split("train")
    order = np.random.default_rng(0).integers(0, len(split), 2000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: (bytes(split.encoded(index)), int(split.labels[index])), order))
    assert found == [(encode(TRAIN[index]), index % 3) for index in order]


@pytest.mark.parametrize("index", [-1, 17, 10**9])
def test_there_is_no_image_beyond_the_ends(store: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"{index} of 17"):
        Store(store).split("train").encoded(index)


def test_pyarrow_reads_it(store: Path) -> None:
    tables = [pa.ipc.open_file(pa.memory_map(str(file))).read_all() for file in sorted(store.glob("train-*.arrow"))]
    table = pa.concat_tables(tables)
    assert table.schema == pa.schema(
        {"image": pa.binary(), "label": pa.int32(), "key": pa.string(), "crc32": pa.uint32()}
    )
    assert table["image"].to_pylist() == [encode(image) for image in TRAIN]
    assert table["label"].to_pylist() == Store(store).split("train").labels.tolist()


@pytest.mark.filterwarnings("default")  # of what datasets itself does
def test_hugging_face_datasets_reads_it(store: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    files = {name: str(store / f"{name}-*.arrow") for name in ("train", "val")}
    loaded = datasets.load_dataset("arrow", data_files=files, cache_dir=str(tmp_path / "cache"))
    loaded = loaded.cast_column("image", datasets.Image())
    assert {name: len(split) for name, split in loaded.items()} == {"train": 17, "val": 4}
    for index in (0, 8, 16):
        row = loaded["train"][index]
        assert np.array_equal(np.asarray(row["image"]), TRAIN[index])
        assert (row["label"], row["key"]) == (index % 3, f"image {index}")


def new_array(path: Path, name: str, array: np.ndarray) -> None:
    """Changes an array and its checksum."""
    np.save(path / name, array)
    edit(path, lambda info: info["arrays"].update({name: checksum(path / name)}))


def rename_class(path: Path) -> None:
    text = (path / "store.json").read_text()
    (path / "store.json").write_text(text.replace("two", "tvo"))


def as_version_1(path: Path) -> None:
    """Makes it what the first version wrote: no checksums but those of the shards."""
    for file in path.glob("*.arrow"):
        with pa.OSFile(str(file)) as opened:
            batches = [
                batch.select(["image", "label", "key"]) for batch in pa.ipc.open_file(opened).read_all().to_batches()
            ]
        with pa.ipc.new_file(str(file), batches[0].schema) as out:
            for batch in batches:
                out.write_batch(batch)
    info = json.loads((path / "store.json").read_text())
    info["version"] = 1
    for shard in info["shards"]:
        shard.update(bytes=(path / shard["file"]).stat().st_size, sha256=checksum(path / shard["file"]))
    del info["arrays"], info["sha256"]
    (path / "store.json").write_text(json.dumps(info))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no store.json": (lambda path: (path / "store.json").unlink(), "is not a store"),
    "another version": (
        lambda path: edit(path, lambda info: info.update(version=3)),
        "version 3 and this alexnet reads version 1 and 2",
    ),
    "no version": (lambda path: (path / "store.json").write_text("[]"), "version None"),
    "broken store.json": (
        lambda path: (path / "store.json").write_text('{"version": 1'),
        "store.json cannot",
    ),
    "missing shard": (lambda path: (path / "train-00001.arrow").unlink(), "train-00001.arrow is missing"),
    "short shard": (lambda path: os.truncate(path / "val-00000.arrow", 900), "val-00000.arrow has 900 bytes"),
    "missing mean": (lambda path: (path / "mean.npy").unlink(), "mean.npy is missing"),
    "cut mean": (lambda path: os.truncate(path / "mean.npy", 500), "mean.npy cannot be read"),
    "empty covariance": (
        lambda path: os.truncate(path / "covariance.npy", 0),
        "covariance.npy cannot be read",
    ),
    "wrong mean": (lambda path: new_array(path, "mean.npy", np.zeros((3, 3))), "mean.npy holds float64"),
    "changed mean": (lambda path: flip_byte(path / "mean.npy", 500), "mean.npy cannot be read .it does not have its"),
    "pickled mean": (
        lambda path: new_array(path, "mean.npy", np.array([{}, None])),
        "mean.npy cannot be read .*objects",
    ),
    "endless store.json": (lambda path: (path / "store.json").write_text("[" * 100_000), "store.json cannot be read"),
    "changed name": (lambda path: rename_class(path), "store.json does not have the checksum in it"),
    "classes of numbers": (lambda path: edit(path, lambda info: info.update(classes=[1, 2])), "classes is no list"),
    "no shards": (lambda path: edit(path, lambda info: info.pop("shards")), "shards is missing"),
    "size of words": (lambda path: edit(path, lambda info: info.update(size="large")), "size is 'large', no number"),
    "huge size": (lambda path: edit(path, lambda info: info.update(size=10**9)), "size 1000000000 or .* no sense"),
    "shard elsewhere": (
        lambda path: edit(path, lambda info: info["shards"][0].update(file="../../secret.arrow")),
        "secret.arrow' is no shard",
    ),
    "more rows than the shard can hold": (
        lambda path: edit(path, lambda info: info["shards"][0].update(rows=2**31)),
        "train-00000.arrow is too short for 2147483648 rows",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_store_does_not_open_and_says_why(store: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    Store(store)
    damage(store)
    with pytest.raises(ValueError, match=message) as caught:
        Store(store)
    assert str(store) in str(caught.value)
    assert "prepare" in str(caught.value)


def test_a_store_that_is_not_there(store: Path) -> None:
    with pytest.raises(ValueError, match="There is no store at"):
        Store(store / "elsewhere")
    with pytest.raises(ValueError, match="is not a store"):
        Store(store / "store.json")
    store.rename(store.with_name("other.partial"))
    with pytest.raises(ValueError, match=r"other is not finished: .* it goes on"):
        Store(store.with_name("other"))


def test_a_split_that_is_not_there(store: Path) -> None:
    with pytest.raises(ValueError, match="no split 'test', only train and val"):
        Store(store).split("test")


@pytest.mark.parametrize("name", ["train-00000.arrow", "train-00002.arrow"])
def test_a_shard_that_is_another_file_is_named(store: Path, name: str) -> None:
    length = (store / name).stat().st_size
    (store / name).write_bytes(bytes(length))
    split = Store(store).split("train")
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        _ = split.labels


def test_shards_that_changed_places_are_noticed(store: Path) -> None:
    edit(store, lambda info: [shard.update(rows=8) for shard in info["shards"][:2]])
    with pytest.raises(ValueError, match=r"train-00000.arrow does not hold 8 rows"):
        Store(store).split("train").encoded(0)


def bad_row(path: Path, image: bytes, label: int = 0) -> None:
    """A store whose eleventh training row, the fourth of the second shard, is this one."""
    every = rows(TRAIN)
    every[10] = Row(image, label, "image 10")
    write_store(path, [every[:7], every[7:]], [rows(VAL)], TRAIN)


def test_an_image_that_does_not_decode_is_named_by_shard_and_row(tmp_path: Path) -> None:
    bad_row(tmp_path / "noise", encode(TRAIN[10])[:-40])
    bad_row(tmp_path / "large", encode(images(1, 20)[0]))
    for name, reason in (("noise", "cannot be decoded"), ("large", "is 20x20 and not 16x16")):
        split = Store(tmp_path / name).split("train")
        split.image(9)
        for read in (lambda split=split: split.image(10), lambda name=name: verify_store(tmp_path / name)):
            with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, {reason}"):
                read()


def test_verify_reads_all_of_a_whole_store(store: Path) -> None:
    found = verify_store(store)
    assert found["splits"] == {"train": 17, "val": 4}
    assert (found["classes"], found["shards"]) == (3, 4)
    assert found["bytes"] == sum(file.stat().st_size for file in store.glob("*.arrow"))


@pytest.mark.parametrize("name", ["train-00001.arrow", "val-00000.arrow"])
def test_verify_notices_one_changed_byte_anywhere(store: Path, name: str) -> None:
    for at in np.random.default_rng(0).integers(0, (store / name).stat().st_size, 5):
        flip_byte(store / name, at)
        with pytest.raises(ValueError, match=f"{name} does not have the checksum"):
            verify_store(store)
        flip_byte(store / name, at)
    verify_store(store)


def read_all(path: Path) -> list[tuple[bytes, int, str]]:
    """Every row of a store, as one that trains on it sees it."""
    opened, found = Store(path), []
    for name in opened.splits:
        split = opened.split(name)
        rows = range(len(split))
        found += [(split.image(row).tobytes(), int(split.labels[row]), split.key(row)) for row in rows]
    return found


@pytest.mark.parametrize("name", ["train-00000.arrow", "store.json", "mean.npy"])
def test_a_changed_byte_anywhere_is_an_error_on_reading_and_never_another_image(store: Path, name: str) -> None:
    expected, length, refused = read_all(store), (store / name).stat().st_size, 0
    places = np.random.default_rng(0).permutation(length)[:120]
    for at in places:
        flip_byte(store / name, int(at))
        reason = ""
        try:
            found = read_all(store)
        except ValueError as error:
            reason = str(error)
            refused += 1
        assert name in reason if reason else found == expected, at  # the same: padding and the like
        flip_byte(store / name, int(at))
    assert refused > 0.6 * len(places)
    assert read_all(store) == expected


def test_a_changed_byte_names_shard_and_row(store: Path) -> None:
    image = encode(TRAIN[10])  # the fourth of the second shard
    data = (store / "train-00001.arrow").read_bytes()
    flip_byte(store / "train-00001.arrow", data.index(image) + len(image) // 2)
    split = Store(store).split("train")
    assert len({split.image(9).tobytes(), split.image(11).tobytes()}) == 2
    with pytest.raises(ValueError, match=rf"^{store}/train-00001.arrow, row 3, does not have its checksum: copy the s"):
        split.image(10)


def test_a_store_of_the_first_version_is_read_as_before(store: Path) -> None:
    expected = read_all(store)
    as_version_1(store)
    assert read_all(store) == expected
    assert verify_store(store)["splits"] == {"train": 17, "val": 4}
    flip_byte(store / "train-00001.arrow", (store / "train-00001.arrow").stat().st_size // 2)
    with pytest.raises(ValueError, match=r"train-00001.arrow does not have the checksum"):
        verify_store(store)


def test_a_store_that_is_being_written_is_refused(tmp_path: Path) -> None:
    with Partial(tmp_path / "store", 16, {}):
        for path in (tmp_path / "store", tmp_path / "store.partial"):
            with pytest.raises(ValueError, match=rf"{path} is being written by alexnet prepare at this moment: wait"):
                Store(path)
    (tmp_path / "store.partial").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match=r"store is not finished"):
        Store(tmp_path / "store")


def test_a_store_that_vanishes_while_it_is_read_is_an_error(store: Path) -> None:
    split = Store(store).split("train")
    first = split.image(0)
    shutil.rmtree(store)
    with pytest.raises(ValueError, match=r"train-00001.arrow is missing"):
        split.image(10)
    assert np.array_equal(split.image(0), first)  # the system keeps what is open


def test_a_shard_that_is_replaced_while_it_is_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is open the old one is read on; it is never taken for the new one when it must be opened again, also in
    stores without checksums."""
    as_version_1(store)
    monkeypatch.setattr("alexnet.data.store.reader.MOST_OPEN", 1)
    split = Store(store).split("train")
    expected = split.image(0)
    file = store / "train-00000.arrow"
    other = bytearray(file.read_bytes())
    shutil.copy(file, store / "new")
    (store / "new").write_bytes(other)
    (store / "new").replace(file)
    assert np.array_equal(split.image(1), TRAIN[1])
    split.image(10)  # another shard, for which the first is closed
    with pytest.raises(ValueError, match=r"train-00000.arrow was replaced while it was read: give the same command"):
        split.image(0)
    assert np.array_equal(Store(store).split("train").image(0), expected)


def test_a_shard_that_grows_shorter_before_it_is_opened_is_an_error(store: Path) -> None:
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
def test_a_shard_that_grows_shorter_while_it_is_open_is_an_error(tmp_path: Path, size: int) -> None:
    """In a process of its own: a reader that maps the file is ended by the system."""
    every = [Row(encode(image), 0, "key") for image in images(40, 32)]
    write_store(tmp_path / "store", [every], [every[:1]], images(40, 32))
    command = [sys.executable, "-c", SHRINK, str(tmp_path / "store"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"train-00000.arrow, row \d+, cannot be read \(it ends before byte \d+\): copy the", done.stderr)


def failing(monkeypatch: pytest.MonkeyPatch, answer: Callable[[bytes], bytes]) -> None:
    """From now on, what the system reads goes through `answer`."""
    pread = os.pread
    monkeypatch.setattr("os.pread", lambda *where: answer(pread(*where)))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_disk_that_fails_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_: bytes) -> bytes:
        raise OSError(number, os.strerror(number))

    split = Store(store).split("train")
    split.image(0)
    failing(monkeypatch, fail)
    reason = rf"cannot be read \({os.strerror(number)}\): see whether its disk is there"
    with pytest.raises(ValueError, match=rf"^{store}/train-00000.arrow, row 3, {reason}"):
        split.image(3)
    with pytest.raises(ValueError, match=rf"^{store}/train-00001.arrow {reason}"):
        split.image(10)


@pytest.mark.parametrize("name", ["store.json", "mean.npy", "covariance.npy", "val-00000.arrow"])
def test_a_disk_that_fails_on_opening_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (store / name).unlink()
    (store / name).mkdir()  # what root too cannot read as a file
    with pytest.raises(ValueError, match=rf"{name} (cannot be read \(Is a directory\): see whether|has \d+ bytes)"):
        Store(store)


def test_reads_that_give_less_than_asked_for_are_gone_on_with(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network disk may; never is a part taken for the whole."""
    failing(monkeypatch, lambda data: data[: max(1, len(data) // 2)])
    assert [content for content, _, _ in read_all(store)][:17] == [image.tobytes() for image in TRAIN]


def test_a_file_that_ends_early_is_an_error(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Store(store).split("train")
    split.image(0)
    failing(monkeypatch, lambda data: b"")
    with pytest.raises(ValueError, match=r"train-00000.arrow, row 3, cannot be read \(it ends before byte \d+\): copy"):
        split.image(3)
    with pytest.raises(ValueError, match=r"train-00001.arrow cannot be read \(it ends before byte 8\): copy"):
        split.image(10)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_an_error_on_reading(tmp_path: Path, label: int) -> None:
    bad_row(tmp_path / "store", encode(TRAIN[10]), label)
    with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, has label {label}, and there are 3 classes"):
        _ = Store(tmp_path / "store").split("train").labels


@pytest.mark.parametrize("label", [-1, 3])
def test_verify_notices_a_label_that_is_no_class(tmp_path: Path, label: int) -> None:
    bad_row(tmp_path / "store", encode(TRAIN[10]), label)
    with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, has label {label}, and there are 3 classes"):
        verify_store(tmp_path / "store")


@pytest.mark.parametrize("name", ["mean", "covariance"])
def test_verify_notices_a_mean_of_other_images(store: Path, name: str) -> None:
    new_array(store, f"{name}.npy", np.load(store / f"{name}.npy") + 1)
    with pytest.raises(ValueError, match=f"{name}.npy is not that of the training images"):
        verify_store(store)


def test_verify_notices_counts_that_do_not_agree(store: Path) -> None:
    edit(store, lambda info: info["splits"]["val"].update(images=5))
    with pytest.raises(ValueError, match="5 images for val and 4 in its shards"):
        verify_store(store)


OPEN_LARGE = """
import resource, sys, time
from alexnet.data.store.reader import Store
began = time.process_time()
split = Store(sys.argv[1]).split("train")
opened = time.process_time() - began
first = split.encoded(len(split) - 1)
labels = split.labels
assert len(first) == 700
if sys.platform == "darwin":
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
else:  # of this program alone: ru_maxrss remembers the process that started it
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
print(len(split), int(labels.sum()), opened, peak)
"""


def test_a_million_rows_open_at_once_in_little_memory(tmp_path: Path) -> None:
    shards = 635
    every = [Row(bytes(700), number % 3, f"image {number}") for number in range(2048)]
    store = tmp_path / "store"
    write_store(store, [every], [every[:1]], images(1))
    for number in range(1, shards):  # 1.3 million rows in the space of 2048
        os.link(store / "train-00000.arrow", store / f"train-{number:05}.arrow")
    first = json.loads((store / "store.json").read_text())["shards"][0]
    many = [{**first, "file": f"train-{number:05}.arrow"} for number in range(shards)]
    edit(
        store,
        lambda info: info.update(shards=many, splits={"train": {"images": shards * 2048, "skipped": 0}}),
    )
    command = [sys.executable, "-c", OPEN_LARGE, str(store)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [int(each) for each in answer[:2]] == [1_300_480, shards * sum(row.label for row in every)]
    assert int(answer[3]) < 200 * 2**20
