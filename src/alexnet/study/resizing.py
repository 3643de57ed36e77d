"""From an image of any shape to what the network sees of it: three ways, by name."""

from typing import Literal

import numpy as np

from alexnet.data.image.square import AnyImage, square
from alexnet.study.trained import Preprocess

Resize = Literal["crop", "centre", "squash"]
RESIZES = {
    "crop": (
        "as the run was tested: the shorter side is resized to {size} pixels and the central {crop} x {crop} are "
        "taken, so that a border of {border} pixels is not seen"
    ),
    "centre": "the largest central square is resized to {crop} x {crop} pixels: all of a square image is seen",
    "squash": "the whole image is resized to {crop} x {crop} pixels: nothing is cut off, its shape is not kept",
}
"""What each does, for an input of {crop} pixels."""


def resized(preprocess: Preprocess, image: AnyImage, how: Resize) -> np.ndarray:
    """Pixels whose centre view is the image, resized as `how` says: uint8 [size, size, 3].

    For `centre` and `squash` the margins, which no centre view shows, are 0. Raises ValueError as `square`.
    """
    if how == "crop":
        return preprocess.pixels(image)
    crop, edge = preprocess.crop, (preprocess.size - preprocess.crop) // 2
    whole = np.zeros((preprocess.size, preprocess.size, 3), np.uint8)
    inner = square(image, crop, preprocess.honour_exif, squashed=how == "squash")
    whole[edge : edge + crop, edge : edge + crop] = inner
    return whole


def in_words(preprocess: Preprocess, how: Resize) -> str:
    """What `how` does, with the run's numbers."""
    size, crop = preprocess.size, preprocess.crop
    return RESIZES[how].format(size=size, crop=crop, border=(size - crop) // 2)
