"""Images on disk, ready to train on.

A store is a folder:

- `train-00000.arrow`, ...: shards with the columns `image` (an encoded image), `label` (int32: an index
  into the classes) and `key` (its name in the source), so that any row is one read away.
- `store.json`: everything there is to know without opening a shard (`StoreInfo` lists its keys). Opening a
  store of 1.3 million images reads nothing else.
- `mean.npy`, float32 [size, size, 3], and `covariance.npy`, float64 [3, 3]: the mean image and the
  covariance of red, green and blue over all pixels of the training split, on the 0-255 scale (paper, sections
  2 and 4.1).
"""

import bisect
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from alexnet.data.classes import Class
from alexnet.data.image import pixels
from alexnet.data.image.encode import decode_stored
from alexnet.data.store.info import COPY_AGAIN, DISK_AGAIN, check_shards, read_info
from alexnet.data.store.shard import Rows, ShardInfo, UnsoundError, read_rows
from alexnet.data.store.statistics import Sums
from alexnet.files.arrays import read_array
from alexnet.files.checksums import checksum
from alexnet.files.read_at import ReadAt
from alexnet.native.library import Threads
from alexnet.progress import Progress

PREPARE_AGAIN = "the store is damaged; delete it and prepare it again."

MOST_OPEN = max(8, os.sysconf("SC_OPEN_MAX") // 4)
"""Files that a split keeps open: a fourth of those that the process may."""

Part = TypeVar("Part")
Result = TypeVar("Result")


class Opened(NamedTuple):
    """What is kept of a shard."""

    identity: tuple[int, ...]
    """Of the file when it was first opened: when it must be opened again, it must be the same."""
    rows: list[Rows]


class Store:
    """A store, opened for reading.

    Raises ValueError where there is none, it is of another version, or something is missing.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.info = read_info(self.path)
        self.classes = tuple(Class(*pair) for pair in self.info["classes"])
        self.size = self.info["size"]
        self.splits = {name: counts["images"] for name, counts in self.info["splits"].items()}
        sums = self.info.get("arrays", {})
        self.mean = _read_array(self.path / "mean.npy", (self.size, self.size, 3), np.float32, sums.get("mean.npy"))
        self.covariance = _read_array(self.path / "covariance.npy", (3, 3), np.float64, sums.get("covariance.npy"))
        check_shards(self.path, self.info["shards"])

    def split(self, name: str) -> "StoreSplit":
        if name not in self.splits:
            raise ValueError(f"{self.path} has no split {name!r}, only {' and '.join(self.splits)}.")
        shards = [shard for shard in self.info["shards"] if shard["split"] == name]
        return StoreSplit(self.path, shards, self.info["batch_rows"], self.size, len(self.classes))


class StoreSplit:
    """The images of one split, by number.

    Many threads may use it at once, also after a fork. Nothing is read before it is asked for. What is read is
    compared with its checksum: a row that was changed on the disk raises ValueError, naming shard and row, and so does
    a disk that fails. Of each shard that was looked into, some twenty bytes for a row and the keys are kept.
    """

    def __init__(self, folder: Path, shards: list[ShardInfo], batch_rows: int, size: int, classes: int) -> None:
        self.folder, self.shards, self.batch_rows, self.size = folder, shards, batch_rows, size
        self.classes = classes
        self._ends = list(accumulate(shard["rows"] for shard in shards))
        self._shards: list[Opened | None] = [None] * len(shards)
        # Without a lock, which a fork could leave locked for ever: two threads may open the same shard at once.
        self._files: list[ReadAt | None] = [None] * len(shards)
        self._open: deque[int] = deque()
        self._labels: np.ndarray | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def encoded(self, index: int) -> bytes:
        """The encoded image. Raises ValueError, naming shard and row, where it cannot be read or was changed."""
        shard, row = self._place(index)
        try:
            rows = self._rows(shard)
            return rows[row // self.batch_rows].encoded(self._file(shard), row % self.batch_rows)
        except (OSError, EOFError) as error:
            raise ValueError(_trouble(self.where(index), error)) from None
        except UnsoundError as error:
            raise ValueError(f"{self.where(index)} {error}: {COPY_AGAIN}") from None

    def key(self, index: int) -> str:
        """The image's name in its source."""
        shard, row = self._place(index)
        rows = self._rows(shard)[row // self.batch_rows]
        return str(rows.key(row % self.batch_rows), "utf-8", "replace")

    def image(self, index: int) -> np.ndarray:
        """The image, uint8 [size, size, 3]. A damaged one raises ValueError, naming shard and row."""
        image = np.empty((1, self.size, self.size, 3), np.uint8)
        self.decode([index], [self.encoded(index)], pixels.WHOLE, image)
        return image[0]

    def decode(
        self,
        indices: Sequence[int],
        encoded: Sequence[bytes],
        places: np.ndarray,
        out: np.ndarray,
        threads: Threads | None = None,
        others: Executor | None = None,
    ) -> None:
        """Squares of the images, given as `encoded` gives them, into `out`, uint8 [N, crop, crop, 3] and contiguous.
        `places`, int64 [N, 3], are top, left, and 1 for what is to be mirrored. By this thread, or by `threads`, and
        what `pixels.decode_crops` does not do by `others`. Raises ValueError as `image`."""
        done = pixels.decode_crops(encoded, (self.size, self.size), places, out, threads)

        def decode_one(i: int) -> None:
            try:
                image = decode_stored(encoded[i])
            except ValueError as error:
                raise ValueError(f"{self.where(indices[i])} cannot be decoded ({error}): {PREPARE_AGAIN}") from None
            if image.shape != (self.size, self.size, 3):
                found = f"{image.shape[1]}x{image.shape[0]}"
                wanted = f"{self.size}x{self.size}"
                raise ValueError(f"{self.where(indices[i])} is {found} and not {wanted}: {PREPARE_AGAIN}")
            top, left, mirrored = places[i]
            out[i] = pixels.crop_and_mirror(image, (top, left), bool(mirrored), out.shape[1])

        for _ in (others.map if others else map)(decode_one, np.flatnonzero(~done).tolist()):
            pass

    @property
    def labels(self) -> np.ndarray:
        """int64 [N], read-only. The first call reads them, one shard after the other. ValueError for one that is no
        class."""
        if self._labels is None:
            labels = np.empty(len(self), np.int64)
            for number, end in enumerate(self._ends):
                batches = [rows.labels for rows in self._rows(number)]
                np.concatenate(batches, out=labels[end - self.shards[number]["rows"] : end])
            strange = np.flatnonzero((labels < 0) | (labels >= self.classes))
            if len(strange):
                what = f"label {labels[strange[0]]}, and there are {self.classes} classes"
                raise ValueError(f"{self.where(int(strange[0]))} has {what}: {PREPARE_AGAIN}")
            labels.setflags(write=False)
            self._labels = labels
        return self._labels

    def where(self, index: int) -> str:
        """The file and row of image `index`, for a sentence."""
        shard, row = self._place(index)
        return f"{self.folder / self.shards[shard]['file']}, row {row},"

    def _place(self, index: int) -> tuple[int, int]:
        """The number of the shard that holds image `index`, and its row there."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard] - self.shards[shard]["rows"])

    def _rows(self, number: int) -> list[Rows]:
        """The columns of a shard, read when they are first asked for."""
        opened = self._shards[number]
        if opened is None:
            file, shard = self._file(number), self.shards[number]
            path = self.folder / shard["file"]
            try:
                opened = Opened(file.identity, read_rows(file, shard["rows"], self.batch_rows))
            except (OSError, EOFError) as error:
                raise ValueError(_trouble(path, error)) from None
            except ValueError as error:
                raise ValueError(f"{path} {error}: {PREPARE_AGAIN}") from None
            self._shards[number] = opened
        return opened.rows

    def _file(self, number: int) -> ReadAt:
        """The file of a shard. Of a large store with more shards than a process may have open files, the one that has
        been open longest is closed (as soon as no other thread reads from it)."""
        file = self._files[number]
        if file is None:
            path, opened = self.folder / self.shards[number]["file"], self._shards[number]
            check_shards(self.folder, [self.shards[number]])
            try:
                file = ReadAt(path)
            except OSError as error:
                raise ValueError(_trouble(path, error)) from None
            if opened is not None and file.identity != opened.identity:
                raise ValueError(f"{path} was replaced while it was read: give the same command again.")
            self._files[number] = file
            self._open.append(number)
            if len(self._open) > MOST_OPEN:
                self._files[self._open.popleft()] = None
        return file


def verify_store(path: Path | str) -> dict[str, Any]:
    """Reads a whole store: every shard has its checksum, every label is a class, every image decodes to the
    right size, mean and covariance are those of the training images. (Roughly, where these are JPEG: they are of the
    images before they were encoded.)

    Returns the counts per split (`splits`), of `classes`, `shards` and `bytes`, and the `seconds` it took.
    Raises ValueError naming the file, and the row where there is one, at the first thing that is wrong.
    """
    began = time.perf_counter()
    store = Store(path)
    shards = store.info["shards"]
    checked = _in_threads(lambda shard: (shard, checksum(store.path / shard["file"])), shards)
    with Progress("checksums", total=len(shards), unit="shards") as bar:
        for shard, found in checked:
            if found != shard["sha256"]:
                file = store.path / shard["file"]
                raise ValueError(f"{file} does not have the checksum in store.json: {COPY_AGAIN}")
            bar.advance(1)
    for name, count in store.splits.items():
        split = store.split(name)
        if len(split) != count:
            file = store.path / "store.json"
            raise ValueError(f"{file} says {count} images for {name} and {len(split)} in its shards: {COPY_AGAIN}")
        assert len(split.labels) == count  # reading them looks whether all are classes
        sums = _sums_of(split, name)
        if name == "train":
            exactly = store.info["encoding"] != "jpeg"
            _check_same(store.path / "mean.npy", store.mean, sums.mean(), exactly)
            _check_same(store.path / "covariance.npy", store.covariance, sums.covariance(), exactly)
    return {
        "store": str(path),
        "splits": store.splits,
        "classes": len(store.classes),
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "seconds": time.perf_counter() - began,
    }


def _sums_of(split: StoreSplit, name: str) -> Sums:
    """The sums over all images, each of which is decoded."""

    def work(part: range) -> Sums:
        sums = Sums.few(split.size)
        for index in part:
            sums.add_image(split.image(index))
        return sums

    total = Sums.none(split.size)
    parts = [range(start, min(start + 256, len(split))) for start in range(0, len(split), 256)]
    with Progress(f"decoding {name}", total=len(split), unit="images") as bar:
        for sums in _in_threads(work, parts):
            total.add(sums)
            bar.advance(sums.images)
    return total


def _in_threads(work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterable[Result]:
    """`work` of each part, in order. Hashing, decoding and numpy release the interpreter lock."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from pool.map(work, parts)
    finally:
        pool.shutdown(cancel_futures=True)


def _trouble(what: Path | str, error: OSError | EOFError) -> str:
    """The sentence for a file that cannot be read, or no longer to its end."""
    if isinstance(error, OSError):
        return f"{what} cannot be read ({error.strerror or error}): {DISK_AGAIN}"
    return f"{what} cannot be read ({error}): {COPY_AGAIN}"


def _check_same(file: Path, stored: np.ndarray, found: np.ndarray, exactly: bool) -> None:
    """ValueError unless two mean images or covariances are the same, or such as JPEG of low quality may leave of
    images that are nothing but noise."""
    if exactly:
        same = np.allclose(stored, found, rtol=1e-5, atol=1e-3)
    elif stored.ndim == 3:
        same = np.allclose(stored.mean(axis=(0, 1)), found.mean(axis=(0, 1)), rtol=0, atol=8)
    else:
        same = np.trace(found) / 4 <= np.trace(stored) + 1 and np.trace(stored) / 4 <= np.trace(found) + 1
    if not same:
        raise ValueError(f"{file} is not that of the training images: {PREPARE_AGAIN}")


def _read_array(file: Path, shape: tuple[int, ...], dtype: type[np.generic], sha256: str | None) -> np.ndarray:
    try:
        if sha256 is not None and checksum(file) != sha256:
            raise ValueError("it does not have its checksum")
        array = read_array(file)
    except FileNotFoundError:
        raise ValueError(f"{file} is missing: {COPY_AGAIN}") from None
    except OSError as error:
        raise ValueError(_trouble(file, error)) from None
    except ValueError as error:
        raise ValueError(f"{file} cannot be read ({error}): {COPY_AGAIN}") from None
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{file} holds {array.dtype} {array.shape} and not {shape}: {COPY_AGAIN}")
    return array
