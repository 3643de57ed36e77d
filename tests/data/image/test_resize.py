"""The square is the centre of the rescaled image, for every shape."""

import numpy as np
import pytest
from PIL import Image
from scenes import scene

from alexnet.data.image.resize import rescale


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (80, 80), (32, 256)])
def test_the_square_is_the_centre_of_the_whole_rescaled_image(shape: tuple[int, int]) -> None:
    image = scene(*shape)
    height, width = (side * 16 // min(shape) for side in shape)
    # In two steps: Pillow 13 begins with the columns of some images, and rounds differently between.
    narrow = Image.fromarray(image).resize((width, len(image)), Image.Resampling.BICUBIC)
    whole = np.asarray(narrow.resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - 16) // 2, (width - 16) // 2
    assert np.array_equal(rescale(image, 16), whole[top : top + 16, left : left + 16])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 700), (31, 33), (256, 257)])
def test_any_shape_becomes_the_square_and_one_colour_stays_one(shape: tuple[int, int]) -> None:
    colour = np.array([10, 200, 90], np.uint8)
    found = rescale(np.broadcast_to(colour, (*shape, 3)), 32)
    assert found.shape == (32, 32, 3)
    assert (found == colour).all()


def test_the_right_size_is_left_alone() -> None:
    image = scene(40, 40)
    assert np.array_equal(rescale(image, 40), image)
