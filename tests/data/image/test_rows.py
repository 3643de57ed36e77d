"""Threads of C++ read and decode rows: CRC-32 is zlib's, every index gets its crop, and the threads can be ended."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compiling import check_source, open_again
from scenes import photograph, saved

from alexnet.data.image import pixels, rows

pytestmark = pytest.mark.skipif(pixels.library() is None, reason="no compiled functions here")

SIZE, CROP = 40, 24


def crc32(data: np.ndarray, before: int = 0) -> int:
    library = pixels.library()
    assert library is not None
    return library.crc32(pixels.address(data), len(data), before)


def check_crc32() -> None:
    random = np.random.default_rng(0)
    for length in (*range(200), 1000, 4096, 100_003):
        data = random.integers(0, 256, length, np.uint8)
        assert crc32(data) == zlib.crc32(data.tobytes()), length
        before = int(random.integers(2**32))
        assert crc32(data, before) == zlib.crc32(data.tobytes(), before), length
        middle = length // 3
        assert crc32(data[middle:], crc32(data[:middle])) == zlib.crc32(data.tobytes()), length
    assert crc32(np.zeros(1000, np.uint8)) == zlib.crc32(bytes(1000))


def test_crc32_is_that_of_zlib() -> None:
    check_crc32()


def test_crc32_without_instructions_of_its_own_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pixels, "FLAGS", pixels.FLAGS[-1:])  # of any processor
    open_again(pixels, "loaded", monkeypatch)
    check_crc32()


@pytest.mark.parametrize("processor", ["x86-64", "sandybridge", "icelake-server", "armv8-a"])
def test_the_source_compiles_for_every_processor(tmp_path: Path, processor: str) -> None:
    check_source(pixels.SOURCE, tmp_path, f"-march={processor}", "-Wall", "-Wextra", "-Werror", "-Wno-psabi")


class Stored:
    """A file of JPEG images, as a shard has them."""

    def __init__(self, folder: Path, count: int = 12) -> None:
        self.images = [saved(photograph(SIZE, seed), "JPEG", quality=95) for seed in range(count)]
        self.keys = np.frombuffer(b"abc" * count, np.uint8)
        self.rows = np.zeros(count, rows.ROW)
        self.rows["length"] = [len(each) for each in self.images]
        self.rows["position"] = np.cumsum([7, *self.rows["length"][:-1]])
        self.rows["label"], self.rows["key"], self.rows["key_length"] = np.arange(count) - 3, 3 * np.arange(count), 3
        for row, image in zip(self.rows, self.images, strict=True):
            row["crc32"] = zlib.crc32(image + row["label"].tobytes() + b"abc")
        (folder / "images").write_bytes(bytes(7) + b"".join(self.images))
        self.file = open(folder / "images", "rb")  # noqa: SIM115 (closed by the fixture)
        addresses = [(pixels.address(self.rows), pixels.address(self.keys))] * 2
        self.shards = rows.open_shards([self.file.fileno()] * 2, addresses, [count, count], self)  # the same one twice


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    made = Stored(tmp_path)
    yield made
    made.file.close()


def start(count: int) -> rows.DecodingThreads:
    threads = rows.start_threads(count)
    assert threads is not None
    return threads


def crops(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.column_stack([random.integers(0, SIZE - CROP + 1, (count, 2)), random.integers(0, 2, count)])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_index_gets_its_crop_whatever_the_number_of_threads(stored: Stored, count: int) -> None:
    indices, chosen = np.random.default_rng(1).integers(0, 24, 60), crops(60)
    expected, out = np.zeros((60, CROP, CROP, 3), np.uint8), np.zeros((4, 60, CROP, CROP, 3), np.uint8)
    images = [stored.images[index % 12] for index in indices]
    assert pixels.decode_crops(images, (SIZE, SIZE), chosen, expected).all()
    with start(count) as threads:
        reading = [threads.begin(stored.shards, indices, (SIZE, SIZE), chosen, each) for each in out]
        assert [threads.finish(each) for each in reading[::-1]] == [None] * 4  # also in another order
    assert all(np.array_equal(each, expected) for each in out)


def test_a_row_that_is_not_as_it_was_written_is_left_out(stored: Stored) -> None:
    for row, field in enumerate(("position", "length", "label", "crc32", "key", "key_length")):
        stored.rows[row][field] -= 1
    stored.rows["length"][6:9] = -1, 0, 2**31 - 1  # outside the file, empty, and longer than any image
    stored.rows["position"][9] = 10**9  # beyond the end of the file
    indices = np.array([*range(12), -1, 24, 2**40])
    out = np.zeros((15, CROP, CROP, 3), np.uint8)
    with start(2) as threads:
        done = threads.finish(threads.begin(stored.shards, indices, (SIZE, SIZE), crops(15), out))
    assert done is not None and np.flatnonzero(done).tolist() == [10, 11]


def test_a_crop_that_is_not_inside_the_image_is_left_out(stored: Stored) -> None:
    most = SIZE - CROP
    chosen = np.array([[0, 0, 0], [most, most, 1], [-1, 0, 0], [0, -1, 0], [most + 1, 0, 0], [0, most + 1, 0]])
    out = np.zeros((6, CROP, CROP, 3), np.uint8)
    with start(1) as threads:
        done = threads.finish(threads.begin(stored.shards, np.arange(6), (SIZE, SIZE), chosen, out))
    assert done is not None and done.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("what", ["indices", "crops", "out", "strides"])
def test_arrays_of_another_kind_are_refused(stored: Stored, what: str) -> None:
    indices, chosen, out = np.arange(4), crops(4), np.zeros((4, CROP, CROP, 3), np.uint8)
    if what == "indices":
        indices = indices.astype(np.int32)
    elif what == "crops":
        chosen = chosen[:3]
    elif what == "out":
        out = out[:3]
    else:
        out = out[:, ::2]
    with start(1) as threads, pytest.raises(ValueError, match=r"^(the indices|the crops|crops)"):
        threads.begin(stored.shards, indices, (SIZE, SIZE), chosen, out)


def test_no_images_are_done_at_once(stored: Stored) -> None:
    with start(1) as threads:
        nothing = np.zeros((0, CROP, CROP, 3), np.uint8)
        assert threads.finish(threads.begin(stored.shards, np.arange(0), (SIZE, SIZE), crops(0), nothing)) is None


def test_ending_the_threads_gives_up_what_is_not_finished(stored: Stored) -> None:
    for _ in range(20):
        out = np.zeros((3, 200, CROP, CROP, 3), np.uint8)
        with start(3) as threads:
            indices = np.arange(200) % 24
            kept = [threads.begin(stored.shards, indices, (SIZE, SIZE), crops(200), each) for each in out]
        del kept
        before = out.copy()
        assert np.array_equal(out, before)  # nobody writes any longer
