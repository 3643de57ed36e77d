"""Images on disk, ready to train on.

A store is a folder:

- `train-00000.arrow`, ...: shards with the columns `image` (encoded), `label` (int32, an index into the classes), `key`
  (its name in the source) and `crc32`. Any row is one read away.
- `store.json`: everything there is to know without opening a shard (`StoreInfo` lists its keys). Opening a store of 1.3
  million images reads nothing else.
- `mean.npy`, float32 [size, size, 3], and `covariance.npy`, float64 [3, 3]: the mean image, and the covariance of red,
  green and blue over all pixels of the training split, on the 0-255 scale (paper, sections 2 and 4.1).
"""

import bisect
from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import accumulate
from pathlib import Path

import numpy as np

from alexnet.data.classes import Class
from alexnet.data.image import pixels
from alexnet.data.image.encode import decode_stored, encoding
from alexnet.data.image.rows import DecodingThreads, Reading, Shards
from alexnet.data.store.info import COPY_AGAIN, check_shards, read_info
from alexnet.data.store.open_shards import PREPARE_AGAIN, OpenShards, why_unreadable
from alexnet.data.store.shard import DamagedRowError, ShardInfo
from alexnet.files.arrays import LARGEST, read_array
from alexnet.files.checksums import checksum
from alexnet.native.library import Threads


class Store:
    """A store, opened for reading.

    Raises ValueError where there is none, it is of another version, or something is missing.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.info = read_info(self.path)
        self.classes = tuple(Class(*pair) for pair in self.info["classes"])
        self.size = self.info["size"]
        self.honours_exif = bool(self.info["options"].get("honour_exif", False))
        """Whether its images were turned as their EXIF data says."""
        self.splits = {name: counts["images"] for name, counts in self.info["splits"].items()}
        self.mean = self._read_array("mean.npy", (self.size, self.size, 3), np.float32)
        self.covariance = self._read_array("covariance.npy", (3, 3), np.float64)
        check_shards(self.path, self.info["shards"])

    def split(self, name: str) -> "StoreSplit":
        """The split "train", "val" or "test". ValueError where the store has none of that name."""
        if name not in self.splits:
            raise ValueError(f"{self.path} has no split {name!r}, only {' and '.join(self.splits)}.")
        shards = [shard for shard in self.info["shards"] if shard["split"] == name]
        return StoreSplit(self.path, shards, self.info["batch_rows"], self.size, len(self.classes))

    def _read_array(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        file = self.path / name
        try:
            if checksum(file, LARGEST) != self.info["arrays"].get(name):
                raise ValueError("it does not match its checksum")
            array = read_array(file)
        except FileNotFoundError:
            raise ValueError(f"{file} is missing: {COPY_AGAIN}") from None
        except OSError as error:
            raise ValueError(why_unreadable(file, error)) from None
        except ValueError as error:
            raise ValueError(f"{file} cannot be read ({error}): {COPY_AGAIN}") from None
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{file} holds {array.dtype} {array.shape} and not {shape}: {COPY_AGAIN}")
        return array


class StoreSplit:
    """The images of one split, by index.

    Many threads may use it at once, also after a fork. Nothing is read before it is needed. What is read is compared
    with its checksum: for a row that changed on the disk, and for a disk that fails, ValueError names shard and row. Of
    each shard that was opened, the keys and 32 bytes per row are kept in memory.
    """

    def __init__(self, folder: Path, shards: list[ShardInfo], batch_rows: int, size: int, classes: int) -> None:
        self.size, self.classes = size, classes
        self._shards = OpenShards(folder, shards, batch_rows)
        self._ends = list(accumulate(shard["rows"] for shard in shards))
        self._labels: np.ndarray | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def encoded(self, index: int) -> bytes:
        """The encoded image. Raises ValueError, naming shard and row, where it cannot be read or was changed."""
        shard, row = self._locate(index)
        columns, file = self._shards.columns(shard), self._shards.file(shard)
        try:
            return columns.encoded(file, row)
        except (OSError, EOFError) as error:
            raise ValueError(why_unreadable(self.where(index), error)) from None
        except DamagedRowError as error:
            raise ValueError(f"{self.where(index)} {error}: {COPY_AGAIN}") from None

    def key(self, index: int) -> str:
        """The image's name in its source."""
        shard, row = self._locate(index)
        return str(self._shards.columns(shard).key(row), "utf-8", "replace")

    def image(self, index: int) -> np.ndarray:
        """The image, uint8 [size, size, 3]. Raises ValueError, naming shard and row, for a damaged one."""
        image = np.empty((1, self.size, self.size, 3), np.uint8)
        self.decode([index], [self.encoded(index)], pixels.WHOLE, image)
        return image[0]

    def decode(
        self,
        indices: Sequence[int],
        encoded: Sequence[bytes],
        crops: np.ndarray,
        out: np.ndarray,
        threads: Threads | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Decode one crop of each image, given as `encoded` returns it, into `out`, uint8 [N, crop, crop, 3].

        `out` is contiguous. `crops`, int64 [N, 3], are top, left, and 1 for a crop to be mirrored. `threads` do the
        work, or the calling thread if there are none; `executor` decodes what `pixels.decode_crops` leaves out. Raises
        ValueError as `image` does.
        """
        done = pixels.decode_crops(encoded, (self.size, self.size), crops, out, threads)

        def decode_one(i: int) -> None:
            self._decode_whole(indices[i], encoded[i], crops[i], out[i])

        for _ in (executor.map if executor else map)(decode_one, np.flatnonzero(~done).tolist()):
            pass

    @property
    def is_compressed(self) -> bool:
        """Whether decoding an image takes much longer than reading it."""
        return encoding(self.size) == "jpeg"

    def all_open(self) -> Shards | None:
        """All shards, open, for `begin_crops`; None where there are more of them than the process may open files.
        Raises ValueError, naming the shard."""
        return self._shards.all_open()

    def begin_crops(
        self, shards: Shards, indices: np.ndarray, crops: np.ndarray, out: np.ndarray, threads: DecodingThreads
    ) -> Reading:
        """Begin to read and decode one crop of each of the images `indices`, int64 [N], as `encoded` and `decode` do,
        without Python between one image and the next."""
        return threads.begin(shards, indices, (self.size, self.size), crops, out)

    def finish_crops(self, reading: Reading, threads: DecodingThreads) -> None:
        """Wait for the crops of `begin_crops`, and read and decode anew what `threads` left out. Raises ValueError as
        `image` does."""
        done = threads.finish(reading)
        for i in () if done is None else np.flatnonzero(~done).tolist():
            index = int(reading.indices[i])
            self._decode_whole(index, self.encoded(index), reading.crops[i], reading.out[i])

    @property
    def labels(self) -> np.ndarray:
        """int64 [N], read-only. The first call reads all shards. Raises ValueError for a label that is not a class."""
        if self._labels is None:
            labels = np.empty(len(self), np.int64)
            start = 0
            for number, end in enumerate(self._ends):
                labels[start:end] = self._shards.columns(number).rows["label"]
                start = end
            invalid = np.flatnonzero((labels < 0) | (labels >= self.classes))
            if len(invalid):
                found = f"label {labels[invalid[0]]}, and there are {self.classes} classes"
                raise ValueError(f"{self.where(int(invalid[0]))} has {found}: {PREPARE_AGAIN}")
            labels.setflags(write=False)
            self._labels = labels
        return self._labels

    def where(self, index: int) -> str:
        """The file and row of an image, for a message."""
        shard, row = self._locate(index)
        return f"{self._shards.path(shard)}, row {row},"

    def _locate(self, index: int) -> tuple[int, int]:
        """The number of the shard that holds an image, and its row there."""
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard - 1] if shard else 0)

    def _decode_whole(self, index: int, encoded: bytes, crop: np.ndarray, out: np.ndarray) -> None:
        """Decode an image with libjpeg-turbo or Pillow and copy a crop of it to `out`; both as for `decode`."""
        try:
            image = decode_stored(encoded, self.size)
        except ValueError as error:
            raise ValueError(f"{self.where(index)} cannot be decoded ({error}): {PREPARE_AGAIN}") from None
        top, left, mirrored = crop
        out[...] = pixels.crop_and_mirror(image, (top, left), bool(mirrored), len(out))
