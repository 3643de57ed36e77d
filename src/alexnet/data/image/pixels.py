"""Opens `pixels.cpp` and wraps its functions: resampling, sums for mean and covariance, and decoding of crops.

The results equal those of Pillow, NumPy and libjpeg-turbo to the last bit. Without a compiler (see `alexnet.native`) or
with `ALEXNET_KERNELS=off` Pillow and NumPy do the work, and `decode_crops` leaves it to its caller.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.native import library as native

SOURCE = Path(__file__).with_name("pixels.cpp")
# Weights must be rounded as Pillow rounds them: no fused and no reordered operations. Callers bring their own threads.
_BASIC = ("-O3", "-std=c++17", "-ffp-contract=off", "-fwrapv", "-pthread", "-shared", "-fPIC")
FLAGS = ((*_BASIC, "-march=native"), _BASIC)

Box = tuple[float, float, float, float]
"""A part of an image: left, top, right and bottom, in pixels."""
BytesLike = bytes | bytearray | memoryview
WHOLE = np.zeros((1, 3), np.int64)
"""The crop of `decode_crops` that is all of one image."""
MAX_SIZE = 4096
"""Pixels on a side of the square that `resize` makes, at most."""
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # channels, in the order of add_moments


def load() -> native.Library:
    """The compiled library, built if it is not in the cache. Raises native.UnavailableError."""
    return native.load(SOURCE, FLAGS)


@functools.cache
def loaded() -> native.Library | None:
    """The compiled library, opened once in a process; None, with a warning, if it cannot be built."""
    without = "Images are resized by Pillow and decoded by libjpeg-turbo, with the same result but slower"
    return native.load_or_warn(load, f"{without}: the compiled functions are not available")


def library() -> native.Library | None:
    """The compiled library; None if it is turned off or cannot be built."""
    return None if native.is_off() else loaded()


def check_image(image: np.ndarray) -> None:
    """ValueError unless `image` is uint8 [height, width, 3] with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"the image is {image.dtype} {list(image.shape)}: give uint8 [height, width, 3]")


def resize(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Resamples the part of `image`, uint8 [height, width, 3], in `box` to uint8
    [size, size, 3]: Pillow's BICUBIC, which antialiases, first along rows and then along columns.

    Raises ValueError for an image of another kind, a box that is empty or not inside it, and a size below 1.
    """
    check_image(image)
    (left, top, right, bottom), (height, width) = box, image.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"the box {box} is not inside an image of {height} rows and {width} columns")
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"the size is {size}: give 1 to {MAX_SIZE} pixels")
    compiled = library()
    if compiled is None:
        # In two steps: Pillow 13 begins with the columns of some images, and so rounds differently in between.
        narrow = Image.fromarray(image).resize((size, height), Image.Resampling.BICUBIC, (left, 0, right, height))
        return np.array(narrow.resize((size, size), Image.Resampling.BICUBIC, (0, top, size, bottom)))
    image = np.ascontiguousarray(image)
    out = np.empty((size, size, 3), np.uint8)
    compiled.resize(address(image), height, width, *box, size, address(out))
    return out


def add_moments(image: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Adds `image`, uint8 [height, width, 3], to `first`, uint16 of the same shape, and the outer product of each pixel
    with itself, summed over all pixels, to `second`, int64 [3, 3]. Raises ValueError for arrays of another kind."""
    check_image(image)
    if (
        first.dtype != np.uint16
        or first.shape != image.shape
        or not (first.flags.c_contiguous and first.flags.writeable)
    ):
        raise ValueError(f"the sums are {first.dtype} {list(first.shape)}: give contiguous uint16 {list(image.shape)}")
    if second.dtype != np.int64 or second.shape != (3, 3):
        raise ValueError(f"the second moments are {second.dtype} {list(second.shape)}: give int64 [3, 3]")
    compiled = library()
    if compiled is None:
        first += image
        sums = _second_moments(image)
    else:
        image = np.ascontiguousarray(image)
        sums = np.zeros(len(_PAIRS), np.int64)
        compiled.add_moments(address(image), image.size // 3, address(first), address(sums))
    for (a, b), value in zip(_PAIRS, sums, strict=True):
        second[a, b] += value
        if a != b:
            second[b, a] += value


def _second_moments(image: np.ndarray) -> list[int]:
    # float32 holds the sum over 256 pixels exactly (256 * 255 * 255 < 2 ** 24) and is many times faster here than
    # integers. Not by BLAS, which would start threads in every worker.
    pixels = image.reshape(-1, 3)
    planes = np.zeros((3, -(-len(pixels) // 256) * 256), np.float32)
    planes[:, : len(pixels)] = pixels.T
    runs = planes.reshape(3, -1, 256)
    return [round(float(np.einsum("ki,ki->k", runs[a], runs[b]).sum(dtype=np.float64))) for a, b in _PAIRS]


def crop_and_mirror(image: np.ndarray, offset: Sequence[int], mirrored: bool, crop: int) -> np.ndarray:
    """The square of `crop` x `crop` pixels at `offset` (top, left), mirrored left to right if `mirrored`: a view, uint8
    [crop, crop, 3]. Raises ValueError for a crop that is not inside the image."""
    top, left = offset
    height, width = image.shape[:2]
    if not (0 <= top <= height - crop and 0 <= left <= width - crop and crop >= 1):
        raise ValueError(f"a crop of {crop} pixels at {top}, {left} is not inside {height} rows and {width} columns")
    square = image[top : top + crop, left : left + crop]
    return square[:, ::-1] if mirrored else square


def decode_crops(
    encoded: Sequence[BytesLike],
    shape: tuple[int, int],
    crops: np.ndarray,
    out: np.ndarray,
    threads: native.Threads | None = None,
) -> np.ndarray:
    """Decodes one crop of each image in `encoded`, all of `shape` (height, width), into `out`, uint8 [N, rows, columns,
    3], contiguous. The pixels of a JPEG are libjpeg-turbo's; only the crop is computed, which takes less time.

    `crops`, int64 [N, 3], are top, left, and 1 for a crop to be mirrored. `threads` do the work, or the calling thread
    if there are none; the interpreter lock is released.

    Returns which crops are done, bool [N]. The caller decodes the others, whose part of `out` may have been written to,
    with libjpeg-turbo or Pillow. These are: all crops if the library is not available; damaged images; images of
    another size or of more than four million pixels; all but baseline JPEG with 4:2:0 or 4:4:4 chroma, and BMP as
    `encode` writes it; crops of a JPEG of fewer than 16 columns.

    Raises ValueError where `crops` or `out` is of another kind, or a crop is not inside the image.
    """
    _check_crops(len(encoded), shape, crops, out)
    done, compiled = np.zeros(len(encoded), np.uint8), library()
    if compiled is None:
        return done.astype(bool)
    (height, width), (rows, columns) = shape, out.shape[1:3]
    crops = np.ascontiguousarray(crops, np.int64)
    arrays = [np.frombuffer(one, np.uint8) for one in encoded]
    addresses = np.array([address(each) for each in arrays], np.uint64)
    lengths = np.array([len(each) for each in arrays], np.int64)
    inputs = len(arrays), address(addresses), address(lengths), height, width, address(crops), rows, columns
    compiled.decode_crops(*inputs, address(out), address(done), *(threads or (None, 1)))
    return done.astype(bool)


def _check_crops(count: int, shape: tuple[int, int], crops: np.ndarray, out: np.ndarray) -> None:
    if out.dtype != np.uint8 or out.ndim != 4 or out.shape[0] != count or out.shape[3] != 3:
        raise ValueError(f"the crops would be written to {out.dtype} {list(out.shape)}: give uint8 [{count}, ., ., 3]")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("the crops would be written to an array that is not contiguous or not writeable")
    if crops.shape != (count, 3) or crops.dtype.kind != "i":
        raise ValueError(f"the crops are {crops.dtype} {list(crops.shape)}: give int64 [{count}, 3]")
    (height, width), (rows, columns) = shape, out.shape[1:3]
    last = height - rows, width - columns
    if count and (crops[:, :2].min() < 0 or (crops[:, :2] > last).any()):
        raise ValueError(f"a crop of {rows} x {columns} pixels is not inside an image of {height} x {width}")


def address(array: np.ndarray) -> int:
    """The address of the array's first element."""
    return array.__array_interface__["data"][0]
