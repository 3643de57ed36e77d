"""Batches are the same, and so are errors, whether threads of C++, of Python or of the caller read and decode."""

import errno
import os
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import photograph, saved
from stores import flip_byte, write_store

from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.image import pixels
from alexnet.data.image.encode import decode_stored, encode
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.data.store.shard import Row
from alexnet.model.cpu import kernels
from alexnet.native.library import Threads

SIZE, CROP, BATCH = 136, 112, 5
KINDS: tuple[Callable[[np.ndarray], bytes], ...] = (
    lambda image: saved(image, "JPEG", quality=95),
    lambda image: saved(image, "JPEG", quality=90, subsampling="4:4:4"),
    lambda image: saved(image, "JPEG", quality=95, progressive=True),
    lambda image: saved(image, "PNG"),
    lambda image: saved(image[..., 0], "JPEG", quality=95),
    lambda image: saved(image, "JPEG", quality=80, restart_marker_rows=1),
    lambda image: saved(image, "JPEG", quality=95, subsampling="4:2:2"),
)
CONTENT = np.stack([photograph(SIZE, seed) for seed in range(23)])
IMAGES = [KINDS[seed % len(KINDS)](image) for seed, image in enumerate(CONTENT)]
CALLERS = kernels.threads(torch.device("cpu"))
Way = tuple[str, int, Threads | None]
WAYS = {
    "C++": ("", 1, None),
    "C++, 2 threads": ("", 2, None),
    "C++, 5 threads": ("", 5, None),
    "Python": ("off", 3, None),
    "caller": ("", 2, CALLERS),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def write(path: Path, encoded: list[bytes] = IMAGES) -> Path:
    """Shards of 9, 13 and 1 rows."""
    rows = [Row(image, number % 3, f"image {number}") for number, image in enumerate(encoded)]
    write_store(path, [rows[:9], rows[9:22], rows[22:]], [rows[:2]], CONTENT)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "store")


def train_split(store: Path) -> StoreSplit:
    return Store(store).split("train")


def draw() -> augment.Draws:
    return augment.draw_epoch(AugmentConfig(), len(IMAGES), SIZE, CROP, seed=0, epoch=0)


def batches(split: StoreSplit, way: Way, monkeypatch: pytest.MonkeyPatch) -> Iterator[loader.TrainingBatch]:
    on, workers, threads = way
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    return loader.training_batches(split, draw(), BATCH, CROP, workers=workers, threads=threads)


def expected_crop(position: int) -> np.ndarray:
    draws = draw()
    whole = decode_stored(IMAGES[draws.order[position]], SIZE)
    return pixels.crop_and_mirror(whole, draws.offsets[position], draws.mirrored[position], CROP)


@every_way
def test_every_kind_of_row_gives_the_pixels_of_its_decoder(store: Path, way: Way, monkeypatch: pytest.MonkeyPatch):
    found = list(batches(train_split(store), way, monkeypatch))
    assert len(found) == len(IMAGES) // BATCH
    crops = torch.cat([batch.crops for batch in found]).numpy()
    assert all(np.array_equal(crop, expected_crop(position)) for position, crop in enumerate(crops))
    assert torch.cat([batch.labels for batch in found]).tolist() == [row % 3 for row in draw().order[: len(crops)]]


@every_way
def test_in_order_gives_whole_images(store: Path, way: Way, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", way[0])
    found = list(loader.in_order(train_split(store), 4, way[1], slice(3, 21), way[2]))
    assert [first for _, _, first in found] == [3, 7, 11, 15, 19]
    images = torch.cat([images for images, _, _ in found]).numpy()
    assert all(np.array_equal(image, decode_stored(IMAGES[row], SIZE)) for row, image in enumerate(images, 3))


@every_way
@pytest.mark.parametrize(("size", "crop"), [(32, 32), (31, 26), (21, 5), (9, 1)])
def test_small_images_come_as_they_were_stored(
    tmp_path: Path, size: int, crop: int, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CONTENT[:, :size, :size]
    rows = [Row(encode(image), 0, str(number)) for number, image in enumerate(content)]
    rows[3] = Row(saved(content[3], "PNG"), 0, "3")
    write_store(tmp_path / "store", [rows[:20], rows[20:]], [rows[:1]], content)
    monkeypatch.setenv("ALEXNET_KERNELS", way[0])
    draws = augment.draw_epoch(AugmentConfig(), len(content), size, crop, seed=0, epoch=0)
    found = loader.training_batches(train_split(tmp_path / "store"), draws, 11, crop, workers=way[1], threads=way[2])
    for number, batch in enumerate(found):
        for position, made in enumerate(batch.crops.numpy(), 11 * number):
            top, left = draws.offsets[position]
            expected = content[draws.order[position]][top : top + crop, left : left + crop]
            assert np.array_equal(made, expected[:, ::-1] if draws.mirrored[position] else expected)


@every_way
def test_a_small_image_that_was_changed_is_named(tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_KERNELS", way[0])
    small = CONTENT[:, :16, :16]
    wrong = {encode(small[0])[:-1]: "cannot be decoded .it has 821 bytes", encode(small[0]): "does not match its check"}
    for number, (image, reason) in enumerate(wrong.items()):
        rows = [Row(encode(each), 0, str(row)) for row, each in enumerate(small)]
        rows[12] = Row(image, 0, "12")
        write_store(store := tmp_path / str(number), [rows[:9], rows[9:]], [rows[:1]], small)
        if number == 1:
            file = store / "train-00001.arrow"
            flip_byte(file, file.read_bytes().index(image) + 500)
        with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, {reason}"):
            list(loader.in_order(train_split(store), 5, way[1], threads=way[2]))


def one_bit(store: Path, image: bytes) -> str:
    file = store / "train-00001.arrow"
    flip_byte(file, file.read_bytes().index(image) + len(image) // 2)
    return "train-00001.arrow, row 3, does not match its checksum"


def outside(store: Path, image: bytes) -> str:
    """The offset at which the image begins becomes negative."""
    file = store / "train-00001.arrow"
    ends = np.cumsum([len(each) for each in IMAGES[9:22]], dtype=np.int32).tobytes()
    flip_byte(file, file.read_bytes().index(ends) + 4 * 2 + 3)
    return r"train-00001.arrow, row [23], (is outside the file|does not match its checksum|cannot be read)"


def truncated(store: Path, image: bytes) -> str:
    file = store / "train-00001.arrow"
    os.truncate(file, file.read_bytes().index(image) + 1)
    return r"train-00001.arrow, row \d+, cannot be read \(it ends before byte \d+\): copy"


def failing(store: Path, image: bytes) -> str:
    """A descriptor that cannot be read by position takes the place of the open file's."""
    file = os.path.realpath(store / "train-00001.arrow")
    (number,) = [fd for fd in os.listdir("/dev/fd") if os.path.realpath(f"/dev/fd/{fd}") == file]
    reading, writing = os.pipe()
    os.dup2(reading, int(number))
    os.close(reading)
    os.close(writing)
    return rf"train-00001.arrow, row \d+, cannot be read \({os.strerror(errno.ESPIPE)}\): check that its disk"


@every_way
@pytest.mark.parametrize("damage", [one_bit, outside, truncated, failing])
def test_a_damaged_row_is_named_at_its_batch(
    store: Path, way: Way, damage: Callable[[Path, bytes], str], monkeypatch: pytest.MonkeyPatch
):
    if damage is failing and sys.platform != "linux":
        pytest.skip("open files are found in /dev/fd")
    split = train_split(store)
    if damage in (truncated, failing):
        assert len(split.labels) == len(IMAGES)  # opens the files
    reason, found = damage(store, IMAGES[12]), []
    bad = {9 + 2, 9 + 3} if damage is outside else {9 + 3} if damage is one_bit else set(range(12, 22))
    first_bad = min(position for position, row in enumerate(draw().order) if row in bad)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(store))}/{reason}"):
        found.extend(batches(split, way, monkeypatch))
    assert len(found) <= first_bad // BATCH
    if damage is one_bit:
        assert len(found) == first_bad // BATCH
    for number, batch in enumerate(found):
        assert np.array_equal(batch.crops[0].numpy(), expected_crop(number * BATCH))


@every_way
def test_a_row_that_does_not_decode_is_named(tmp_path: Path, way: Way, monkeypatch: pytest.MonkeyPatch):
    wrong = {
        b"": "cannot be decoded",
        IMAGES[0][:-400]: "cannot be decoded",
        saved(CONTENT[0][:40, :40], "JPEG"): "cannot be decoded .it is 40x40 and not",
    }
    for number, (image, reason) in enumerate(wrong.items()):
        split = train_split(write(tmp_path / str(number), [*IMAGES[:12], image, *IMAGES[13:]]))
        with pytest.raises(ValueError, match=f"train-00001.arrow, row 3, {reason}"):
            list(batches(split, way, monkeypatch))


needs_compiled = pytest.mark.skipif(pixels.library() is None, reason="no compiled functions here")


@needs_compiled
def test_a_forked_process_reads_by_threads_of_its_own(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends the batches that its parent began, whose threads it does not have."""
    split = train_split(store)
    begun = batches(split, WAYS["C++, 2 threads"], monkeypatch)
    next(begun)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is what is tried
        child = os.fork()
    if child == 0:
        wrong = True
        try:
            del begun
            # Not by torch.cat: GNU's OpenMP, which an earlier test may have used, does not survive a fork.
            found = [
                crop for batch in batches(split, WAYS["C++, 2 threads"], monkeypatch) for crop in batch.crops.numpy()
            ]
            wrong = not all(np.array_equal(crop, expected_crop(position)) for position, crop in enumerate(found))
        finally:
            os._exit(wrong)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(begun)) == len(IMAGES) // BATCH - 1


LEAVE = """
import sys
from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store
split = Store(sys.argv[1]).split("train")
draws = augment.draw_epoch(AugmentConfig(), len(split), split.size, 112, seed=0, epoch=0)
batches = loader.training_batches(split, draws, 5, 112, workers=2)
next(batches)
"""


def test_a_program_may_end_in_the_middle_of_an_epoch(store: Path) -> None:
    quiet = {} if pixels.library() else {"ALEXNET_KERNELS": "off"}  # without a compiler it would say so
    command = [sys.executable, "-c", LEAVE, str(store)]
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_batch_in_a_ring_is_valid_until_the_fourth_after_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "pinned", loader.pageable)  # pinned memory needs a GPU
    split, found = train_split(store), []
    for batch in loader.training_batches(split, draw(), 1, CROP, workers=2, pin=True):
        found.append(batch.crops)
        for position in range(max(0, len(found) - loader.KEPT), len(found)):
            assert np.array_equal(found[position][0].numpy(), expected_crop(position))
    assert len(found) == len(IMAGES)
    assert len({crops.data_ptr() for crops in found}) == loader.BATCHES_AHEAD + loader.KEPT


@pytest.mark.parametrize("threads", [None, CALLERS], ids=["own threads", "caller's threads"])
def test_batches_outside_a_ring_stay_valid(store: Path, threads: Threads | None) -> None:
    found = list(loader.training_batches(train_split(store), draw(), 1, CROP, workers=2, threads=threads))
    assert all(np.array_equal(batch.crops[0].numpy(), expected_crop(i)) for i, batch in enumerate(found))


MANY = """
import resource, sys
hard = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.store.reader import Store
split = Store(sys.argv[1]).split("train")
found = [int(images.sum()) for images, _, _ in loader.in_order(split, 8, workers=2)]
print(sum(found), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@needs_compiled
@pytest.mark.parametrize(("hard", "soft"), [(4096, 92), (64, 64)])
def test_more_shards_than_files_that_may_be_open(tmp_path: Path, hard: int, soft: int) -> None:
    """The soft limit is raised for them; where it cannot be, files are closed and opened again."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] not in range(hard, sys.maxsize):
        pytest.skip("the hard limit is lower, or there is none")
    rows = [Row(IMAGES[number % len(IMAGES)], 0, str(number)) for number in range(60)]
    write_store(tmp_path / "store", [[row] for row in rows], [rows[:1]], CONTENT)
    command = [sys.executable, "-c", MANY, str(tmp_path / "store"), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total = sum(int(decode_stored(row.image, SIZE).sum()) for row in rows)
    assert [int(each) for each in done.stdout.split()] == [total, soft]
