"""Loads and calls `native/pixels.cpp`: what preparing and loading do to pixels, exactly as Pillow, NumPy and
libjpeg-turbo do it.

Without a compiler (see `alexnet.native`) these do it, with the same result; `ALEXNET_KERNELS=off` asks
for that.
"""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.native import library as native

SOURCE = Path(__file__).with_name("pixels.cpp")
# Weights are rounded as Pillow's are: no operations that are fused or reordered. Threads are the callers' own.
_BASIC = ("-O3", "-std=c++17", "-ffp-contract=off", "-fwrapv", "-shared", "-fPIC")
FLAGS = ((*_BASIC, "-march=native"), _BASIC)

_pointer, _size, _real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_ARGUMENTS = {
    "alexnet_resize": (_pointer, _size, _size, _real, _real, _real, _real, _size, _pointer),
    "alexnet_add": (_pointer, _size, _pointer, _pointer),
    "alexnet_decode": (_size, *(_pointer,) * 2, *(_size,) * 2, _pointer, *(_size,) * 2, *(_pointer,) * 3, ctypes.c_int),
}
Bytes = bytes | bytearray | memoryview
WHOLE = np.zeros((1, 3), np.int64)
"""Of one image all, as the place of a patch."""
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # colours, in the order of alexnet_add's products


def load() -> ctypes.CDLL:
    """The compiled functions, built where the cache has none. Raises native.UnavailableError."""
    return native.load(SOURCE, FLAGS, _ARGUMENTS)


@functools.cache
def _loaded() -> ctypes.CDLL | None:
    without = "Images are resized by Pillow and decoded by libjpeg-turbo, with the same result but slower"
    return native.load_or_warn(load, f"{without}: the compiled functions are not available")


def library() -> ctypes.CDLL | None:
    """The compiled functions, or None where they are off or cannot be had (said once, as a warning)."""
    return None if native.is_off() else _loaded()


def resize(image: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """The part of `image`, uint8 [height, width, 3], in `box` (left, top, right, bottom; pixels) as uint8 [size,
    size, 3], by Pillow's BICUBIC, which antialiases: along the rows, and then along the columns."""
    compiled = library()
    if compiled is None:
        # In two steps, since Pillow 13 begins with the columns of some images and rounds differently between.
        (left, top, right, bottom), height = box, len(image)
        narrow = Image.fromarray(image).resize((size, height), Image.Resampling.BICUBIC, (left, 0, right, height))
        return np.asarray(narrow.resize((size, size), Image.Resampling.BICUBIC, (0, top, size, bottom)))
    image = np.ascontiguousarray(image)
    out = np.empty((size, size, 3), np.uint8)
    compiled.alexnet_resize(address(image), *image.shape[:2], *box, size, address(out))
    return out


def add(image: np.ndarray, values: np.ndarray, products: np.ndarray) -> None:
    """Adds the values of `image`, uint8 [height, width, 3], to `values`, uint16 of the same shape, and the sums of
    the products of its pixels' values with each other to `products`, int64 [3, 3]."""
    compiled = library()
    if compiled is None:
        values += image
        sums = _products(image)
    else:
        image = np.ascontiguousarray(image)
        assert values.dtype == np.uint16 and values.shape == image.shape and values.flags.c_contiguous
        sums = np.zeros(len(_PAIRS), np.int64)
        compiled.alexnet_add(address(image), image.size // 3, address(values), address(sums))
    for (a, b), value in zip(_PAIRS, sums, strict=True):
        products[a, b] += value
        if a != b:
            products[b, a] += value


def _products(image: np.ndarray) -> list[int]:
    # Single precision holds the sum over 256 pixels exactly (256 * 255 * 255 < 2 ** 24) and is many times faster
    # here than integers. Not by BLAS, which would start threads in every worker.
    pixels = image.reshape(-1, 3)
    planes = np.zeros((3, -(-len(pixels) // 256) * 256), np.float32)
    planes[:, : len(pixels)] = pixels.T
    runs = planes.reshape(3, -1, 256)
    return [round(float(np.einsum("ki,ki->k", runs[a], runs[b]).sum(dtype=np.float64))) for a, b in _PAIRS]


def crop_and_mirror(image: np.ndarray, offset: Sequence[int], mirrored: bool, crop: int) -> np.ndarray:
    """The patch of `crop` x `crop` pixels at `offset` (top, left), as a view: uint8 [crop, crop, 3]."""
    top, left = offset
    patch = image[top : top + crop, left : left + crop]
    return patch[:, ::-1] if mirrored else patch


def decode(
    encoded: Sequence[Bytes],
    shape: tuple[int, int],
    places: np.ndarray,
    out: np.ndarray,
    threads: native.Threads | None = None,
) -> np.ndarray:
    """The patches of JPEG images, whose height and width are `shape`, into `out`, uint8 [N, rows, columns, 3] and
    contiguous: the same numbers as libjpeg-turbo's, in less time. `places`, int64 [N, 3], are top, left, and 1 for what
    is to be mirrored. By this thread, or by `threads`; releases the interpreter lock.

    Returns which are done, bool [N]. The others are for libjpeg-turbo or Pillow: all without the compiled functions,
    what is damaged, of another size or no baseline JPEG of 4:2:0 or 4:4:4, of more than four million pixels, and
    patches of less than 16 columns. Their part of `out` may have been written to.
    """
    done, compiled = np.zeros(len(encoded), np.uint8), library()
    if compiled is None:
        return done.astype(bool)
    (height, width), (rows, columns, _) = shape, out.shape[1:]
    places = np.ascontiguousarray(places, np.int64)
    assert out.flags.c_contiguous and out.dtype == np.uint8 and out.shape == (len(encoded), rows, columns, 3)
    assert places.shape == (len(encoded), 3) and places[:, :2].min(initial=0) >= 0
    assert places[:, 0].max(initial=0) <= height - rows and places[:, 1].max(initial=0) <= width - columns
    given = [np.frombuffer(one, np.uint8) for one in encoded]
    where = np.array([address(each) for each in given], np.uint64)
    lengths = np.array([len(each) for each in given], np.int64)
    inputs = len(given), address(where), address(lengths), height, width, address(places), rows, columns
    compiled.alexnet_decode(*inputs, address(out), address(done), *(threads or (None, 1)))
    return done.astype(bool)


def address(array: np.ndarray) -> int:
    """Where the array's memory begins."""
    return array.__array_interface__["data"][0]
