"""From any image (a file, its bytes, a Pillow image, an array) to the square that a store holds and the network takes.

The only way there, so that training and prediction see the same pixels.
"""

from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from PIL import Image

from alexnet.data.image import bounds, exif
from alexnet.data.image.decode import Decoded, decode_scaled, whole
from alexnet.data.image.pixels import BytesLike
from alexnet.data.image.resize import rescale, squash
from alexnet.data.image.rgb import to_rgb
from alexnet.files.printable import printable
from alexnet.files.regular import read_regular


@runtime_checkable
class HasArray(Protocol):
    """What NumPy can take as an array, a tensor for example."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray: ...


AnyImage: TypeAlias = "str | Path | BytesLike | Image.Image | np.ndarray | HasArray"


def square(image: AnyImage, size: int, honour_exif: bool = False, squashed: bool = False) -> np.ndarray:
    """The central square of `image` after its shorter side has been rescaled to `size`: uint8 [size, size, 3]. With
    `squashed`, all of the image instead, distorted to a square.

    `image` is a path, an encoded image, a Pillow image, or an array, uint8 [H, W, 3] in RGB, [H, W] or [H, W, 1] in
    grey; a last channel more, [H, W, 4] or [H, W, 2], is its opacity. With `honour_exif` a file or Pillow image is
    turned as its EXIF data says.

    Raises ValueError, with the reason as its text and the path in it, for anything else.
    """
    decoded = _decoded(image, size, honour_exif)
    return (squash if squashed else rescale)(decoded.pixels, size, decoded.extent)


def _decoded(image: AnyImage, size: int, honour_exif: bool) -> Decoded:
    if isinstance(image, str | Path):
        try:
            return decode_scaled(read_regular(image, bounds.LARGEST_IMAGE), size, honour_exif)
        except OSError as error:
            raise ValueError(f"{printable(str(image))} cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise ValueError(f"{printable(str(image))} is not an image that can be read: {error}") from None
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_scaled(image, size, honour_exif)
    if not isinstance(image, Image.Image):
        pixels = _from_array(image)
    else:
        pixels = _from_pillow(image)
        if honour_exif:
            pixels = exif.upright(pixels, exif.orientation_of_pillow(image))
    return whole(pixels)


def _from_pillow(image: Image.Image) -> np.ndarray:
    if 0 in image.size:
        raise ValueError(f"the image has {image.width}x{image.height} pixels: give one that is not empty")
    try:
        return to_rgb(image)
    except MemoryError:
        raise
    except Exception as error:  # the file behind it is read only now, and a damaged one can raise nearly anything
        raise ValueError(f"the Pillow image ({image.mode}) cannot be converted to RGB: {error}") from None


def _from_array(image: np.ndarray | HasArray) -> np.ndarray:
    """uint8 [H, W, 3]."""
    if not isinstance(image, HasArray):
        raise ValueError(
            f"{type(image).__name__} is no image: give a path, an encoded image, a Pillow image or an array"
        )
    try:
        array = np.asarray(image)
    except (TypeError, RuntimeError) as error:  # a tensor on another device, or with a gradient
        raise ValueError(f"the image cannot be taken as an array: {' '.join(str(error).split())}") from None
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(
            f"the array is {array.dtype} {list(array.shape)}: give uint8 [height, width, 3] in RGB, 0 to 255"
        )
    if channels == 3:
        return np.ascontiguousarray(array)
    return to_rgb(Image.fromarray(array[:, :, 0] if array.ndim == 3 and channels == 1 else array))
