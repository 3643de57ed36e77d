"""Pictures on disk, ready to train on: Arrow IPC shards that are memory mapped, so that any row is one seek away.

A store is a folder:

- `train-00000.arrow`, ...: columns `image` (an encoded picture), `label` (int32: an index into the classes) and `key`
  (its name in the source). pyarrow, DuckDB and Hugging Face `datasets` read them too.
- `store.json`: everything there is to know without opening a shard (`StoreInfo` lists its keys).
- `mean.npy`, float32 [size, size, 3], and `covariance.npy`, float64 [3, 3]: the mean picture and the covariance of
  red, green and blue over all pixels of the training split, both on the 0-255 scale (paper, sections 2 and 4.1).

A shard holds record batches of `batch_rows` rows, the last one of what is left, so that where a row lies follows from
the counts in `store.json` and opening a store of 1.3 million pictures reads nothing else.
"""

import bisect
import json
import threading
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa

from alexnet.data.classes import Class
from alexnet.data.resize import decode_stored

VERSION = 1
BATCH_ROWS = 512
SCHEMA = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("key", pa.string())])


class ShardInfo(TypedDict):
    """One shard, as `store.json` describes it; `bytes` is the length of the file."""

    file: str
    split: str
    rows: int
    bytes: int
    sha256: str


class StoreInfo(TypedDict):
    """`store.json`. `classes` are pairs of wnid and name; `splits` gives each split's `pictures` and `skipped`,
    `skipped` each skipped picture's `split`, `key` and `reason`."""

    version: int
    classes: list[list[str]]
    splits: dict[str, dict[str, int]]
    size: int
    encoding: str
    quality: int
    source: dict[str, str]
    options: dict[str, Any]
    batch_rows: int
    shards: list[ShardInfo]
    skipped: list[dict[str, str]]


class Store:
    """A store opened for reading. Raises ValueError where it is none, of another version, or incomplete."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.info = read_info(self.path)
        self.classes = tuple(Class(*pair) for pair in self.info["classes"])
        self.size = self.info["size"]
        self.splits = {name: counts["pictures"] for name, counts in self.info["splits"].items()}
        self.mean = _read_array(self.path / "mean.npy", (self.size, self.size, 3), np.float32)
        self.covariance = _read_array(self.path / "covariance.npy", (3, 3), np.float64)
        check_shards(self.path, self.info["shards"])

    def split(self, name: str) -> "StoreSplit":
        if name not in self.splits:
            raise ValueError(f"{self.path} has no split {name!r}, only {' and '.join(self.splits)}.")
        shards = [shard for shard in self.info["shards"] if shard["split"] == name]
        return StoreSplit(self.path, shards, self.info["batch_rows"], self.size)


class StoreSplit:
    """The pictures of one split, by number. May be used by many threads at once; nothing is read before it is asked
    for."""

    def __init__(self, folder: Path, shards: list[ShardInfo], batch_rows: int, size: int) -> None:
        self.folder, self.shards, self.batch_rows, self.size = folder, shards, batch_rows, size
        self._ends = list(accumulate(shard["rows"] for shard in shards))
        self._opened: list[list[_Rows] | None] = [None] * len(shards)
        self._labels: np.ndarray | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def image(self, index: int) -> memoryview:
        """The encoded picture, in the file's own memory."""
        rows, row = self._find(index)
        return rows.image(row)

    def key(self, index: int) -> str:
        """The picture's name in its source."""
        rows, row = self._find(index)
        return rows.keys[row].as_py()

    def picture(self, index: int) -> np.ndarray:
        """The picture, uint8 [size, size, 3]. Raises ValueError naming shard and row where it is damaged."""
        try:
            picture = decode_stored(self.image(index))
        except ValueError as error:
            raise ValueError(f"{self._where(index)} cannot be decoded ({error}): {_PREPARE_AGAIN}") from None
        if picture.shape != (self.size, self.size, 3):
            height, width = picture.shape[:2]
            wrong = f"is {width}x{height} and not {self.size}x{self.size}"
            raise ValueError(f"{self._where(index)} {wrong}: {_PREPARE_AGAIN}")
        return picture

    @property
    def labels(self) -> np.ndarray:
        """int64 [N], read at the first call. Shards are mapped only for as long as that takes."""
        with self._lock:
            if self._labels is None:
                labels = np.empty(len(self), np.int64)
                for number, end in enumerate(self._ends):
                    start = end - self.shards[number]["rows"]
                    batches = self._rows_of(number) if self._opened[number] is None else self._opened[number]
                    np.concatenate([rows.labels for rows in batches or []], out=labels[start:end])
                labels.setflags(write=False)
                self._labels = labels
            return self._labels

    def place(self, index: int) -> tuple[int, int]:
        """The number of the shard that holds picture `index`, and its row there."""
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard] - self.shards[shard]["rows"])

    def _find(self, index: int) -> tuple["_Rows", int]:
        shard, row = self.place(index)
        batches = self._opened[shard]
        if batches is None:
            with self._lock:
                batches = self._opened[shard]
                if batches is None:
                    batches = self._opened[shard] = self._rows_of(shard)
        return batches[row // self.batch_rows], row % self.batch_rows

    def _rows_of(self, shard: int) -> list["_Rows"]:
        return _map_shard(self.folder / self.shards[shard]["file"], self.shards[shard]["rows"], self.batch_rows)

    def _where(self, index: int) -> str:
        shard, row = self.place(index)
        return f"{self.folder / self.shards[shard]['file']}, row {row},"


class _Rows(NamedTuple):
    """The columns of one record batch."""

    offsets: memoryview  # int32: where each picture begins in `images`, and where the last one ends
    images: memoryview
    labels: np.ndarray  # int32
    keys: pa.StringArray

    def image(self, row: int) -> memoryview:
        return self.images[self.offsets[row] : self.offsets[row + 1]]


_PREPARE_AGAIN = "the store is damaged; delete it and prepare it again."


def read_info(path: Path) -> StoreInfo:
    """`store.json` of the store at `path`. Raises ValueError where there is none or it is of another version."""
    if not path.is_dir():
        raise ValueError(f"There is no store at {path}: make one with `alexnet prepare SOURCE {path}`.")
    file = path / "store.json"
    try:
        info = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is not a store, it has no store.json: make one with `alexnet prepare`.") from None
    except ValueError as error:
        raise ValueError(f"{file} cannot be read ({error}): {_PREPARE_AGAIN}") from None
    version = info.get("version") if isinstance(info, dict) else None
    if version != VERSION:
        raise ValueError(
            f"{file} is of version {version} and this alexnet reads version {VERSION}: prepare the store again."
        )
    return info


def _read_array(file: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    try:
        array = np.load(file)
    except FileNotFoundError:
        raise ValueError(f"{file} is missing: {_PREPARE_AGAIN}") from None
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} cannot be read ({error}): {_PREPARE_AGAIN}") from None
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{file} holds {array.dtype} {list(array.shape)} and not {list(shape)}: {_PREPARE_AGAIN}")
    return array


def check_shards(folder: Path, shards: list[ShardInfo]) -> None:
    """Every shard is there and as long as it should be: what a copy that was broken off gets wrong."""
    for shard in shards:
        file = folder / shard["file"]
        try:
            length = file.stat().st_size
        except FileNotFoundError:
            raise ValueError(f"{file} is missing: {_COPY_AGAIN}") from None
        if length != shard["bytes"]:
            raise ValueError(f"{file} has {length} bytes and not {shard['bytes']}: {_COPY_AGAIN}")


_COPY_AGAIN = "copy the store again, or delete it and prepare it again."


def _map_shard(file: Path, rows: int, batch_rows: int) -> list[_Rows]:
    """The record batches of `file`. They keep it mapped, but not open: a large store has more shards than a process
    may have open files."""
    try:
        with pa.memory_map(str(file)) as mapped, pa.ipc.open_file(mapped) as reader:
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} cannot be read ({error}): {_PREPARE_AGAIN}") from None
    expected = [min(batch_rows, rows - start) for start in range(0, rows, batch_rows)]
    if [batch.num_rows for batch in batches] != expected or any(batch.schema != SCHEMA for batch in batches):
        raise ValueError(f"{file} does not hold what store.json says: {_PREPARE_AGAIN}")
    return [_rows(batch) for batch in batches]


def _rows(batch: pa.RecordBatch) -> _Rows:
    image, label, key = batch.columns
    _, offsets, images = image.buffers()
    assert image.offset == 0 and offsets is not None  # a batch as it lies in the file is no slice
    return _Rows(
        memoryview(offsets).cast("B").cast("i"),
        memoryview(images if images is not None else b""),
        label.to_numpy(),
        key,
    )
