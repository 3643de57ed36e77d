"""Rescales an image of any shape to the fixed square that the network takes.

Section 2 of the paper: "Given a rectangular image, we first rescaled the image such that the shorter side was of length
256, and then cropped out the central 256x256 patch from the resulting image."
"""

import numpy as np

from alexnet.data.image import pixels


def rescale(image: np.ndarray, size: int, extent: pixels.Box | None = None) -> np.ndarray:
    """The central square of `image`, uint8 [height, width, 3], after its shorter side has been rescaled to `size`
    (bicubic, antialiased): uint8 [size, size, 3].

    Computes only that square. Its edges are filtered with the pixels beyond them, as if the whole image were rescaled
    and cropped. `extent` is the part of the array that the image takes up (None: all of it).

    Raises ValueError, with the reason as its text, for anything but an image and a size of at least 1.
    """
    pixels.check_image(image)
    left, top, right, bottom = extent or (0, 0, image.shape[1], image.shape[0])
    width, height = right - left, bottom - top
    side = min(width, height)
    left, top = left + (width - side) / 2, top + (height - side) / 2
    return pixels.resize(image, (left, top, left + side, top + side), size)


def squash(image: np.ndarray, size: int, extent: pixels.Box | None = None) -> np.ndarray:
    """All of `image`, uint8 [height, width, 3], rescaled (bicubic, antialiased) to uint8 [size, size, 3]: nothing is
    cut off, and what is not square is distorted. `extent` and errors as for `rescale`."""
    pixels.check_image(image)
    return pixels.resize(image, extent or (0, 0, image.shape[1], image.shape[0]), size)
