"""What is in a store comes out of it, in any thread or process, by any reader."""

import json
import os
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from stores import CLASSES, TRAIN, VAL, edit, images, write_store

from alexnet.data.image.encode import encode
from alexnet.data.store.reader import Store
from alexnet.data.store.shard import Row


def test_every_row_comes_back_at_its_index(store: Path) -> None:
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


def test_the_number_of_open_files_is_limited(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.store.open_shards.MAX_OPEN", 2)
    before = len(os.listdir("/dev/fd"))
    split = Store(store).split("train")
    for index in (0, 8, 16) * 3:
        assert bytes(split.encoded(index)) == encode(TRAIN[index])
        assert len(os.listdir("/dev/fd")) <= before + 2
    with ThreadPoolExecutor(8) as pool:  # a file that one thread closes is still open for another that reads from it
        order = np.random.default_rng(0).integers(0, len(split), 2000)
        found = list(pool.map(lambda index: bytes(split.encoded(index)), order))
    assert found == [encode(TRAIN[index]) for index in order]


def test_a_forked_process_can_go_on_reading(store: Path) -> None:
    """From the same open files, at the same time as the parent's threads."""
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
    """The numbers of its open files mean other files in another process."""
    split = Store(store).split("train")
    split.encoded(0)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(split)


def test_labels_cannot_be_written(store: Path) -> None:
    labels = Store(store).split("val").labels
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1


def test_many_threads_can_read_at_once(store: Path) -> None:
    split = Store(store).split("train")
    order = np.random.default_rng(0).integers(0, len(split), 2000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: (bytes(split.encoded(index)), int(split.labels[index])), order))
    assert found == [(encode(TRAIN[index]), index % 3) for index in order]


@pytest.mark.parametrize("index", [-1, 17, 10**9])
def test_an_index_out_of_range_is_an_error(store: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"{index} of 17"):
        Store(store).split("train").encoded(index)


def test_a_missing_split_is_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="no split 'test', only train and val"):
        Store(store).split("test")


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
