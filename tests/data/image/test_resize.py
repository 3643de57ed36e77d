"""The square is the centre of the rescaled image, for every shape."""

import numpy as np
import pytest
from PIL import Image
from scenes import photograph, saved, scene

from alexnet.data.image.decode import REDUCING_GAP, decode, decode_scaled
from alexnet.data.image.resize import rescale
from alexnet.data.image.square import square


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


SCALED = [(257, 257), (259, 345), (374, 500), (800, 1000), (999, 777), (2000, 1600)]


@pytest.mark.parametrize("size", [30, 72, 100])
@pytest.mark.parametrize("shape", SCALED)
def test_a_scaled_jpeg_is_large_enough_and_gives_nearly_the_same_square(shape: tuple[int, int], size: int) -> None:
    data = saved(scene(*shape), "JPEG", quality=95)
    whole, scaled = decode(data), decode_scaled(data, size)
    scale = max(whole.shape[0] / scaled.pixels.shape[0], whole.shape[1] / scaled.pixels.shape[1])
    assert min(shape) / scale >= REDUCING_GAP * size or scale == 1
    assert (scale > 1.9) == (min(shape) >= 2 * REDUCING_GAP * size)
    difference = rescale(whole, size).astype(int) - rescale(scaled.pixels, size, scaled.extent)
    assert np.abs(difference).mean() < 0.5


@pytest.mark.parametrize("side", range(257, 265))
def test_a_scaled_jpeg_keeps_its_geometry(side: int) -> None:
    """Its last row and column may be only partly in the image."""
    data = saved(photograph(side), "JPEG", quality=95, subsampling=0)
    expected = rescale(decode(data), 32).astype(int)
    pixels, extent = decode_scaled(data, 32)
    assert len(pixels) == -(-side // 4)
    assert extent == (0, 0, side / 4, side / 4)
    assert np.abs(square(data, 32) - expected).mean() < 1
    if side % 4:
        assert np.abs(rescale(pixels, 32) - expected).mean() > 3  # as if they were whole


REFUSED = {
    "float": np.zeros((5, 6, 3), np.float32),
    "grey": np.zeros((5, 6), np.uint8),
    "opacity": np.zeros((5, 6, 4), np.uint8),
    "channels first": np.zeros((3, 5, 6), np.uint8),
    "empty": np.zeros((0, 6, 3), np.uint8),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_array_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"give uint8 \[height, width, 3\]"):
        rescale(REFUSED[name], 4)
