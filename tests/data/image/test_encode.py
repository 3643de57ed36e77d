"""What a store holds: lossless below 128 pixels, JPEG of the given quality from there up."""

import io

import numpy as np
import pytest
from PIL import Image
from scenes import scene

from alexnet.data.image.encode import decode_stored, encode


@pytest.mark.parametrize(("size", "start"), [(127, b"\x89PNG"), (128, b"\xff\xd8"), (200, b"\xff\xd8")])
def test_small_images_are_stored_lossless_and_large_ones_as_jpeg(size: int, start: bytes) -> None:
    image = scene(size, size)
    data = encode(image)
    assert data.startswith(start)
    again = decode_stored(memoryview(data), size)
    assert np.array_equal(again, np.asarray(Image.open(io.BytesIO(data))))
    error = np.abs(again.astype(float) - image).mean()
    assert error == 0 if size < 128 else error < 2


def test_a_lower_quality_is_shorter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert len(encode(image, 50)) < len(encode(image, 95)) < len(encode(image, 100))


@pytest.mark.parametrize("size", [16, 128])
def test_what_is_no_image_and_no_quality_is_refused(size: int) -> None:
    image = scene(size, size)
    for other in (image[..., 0], image.astype(float), image[..., :2], image[:0]):
        with pytest.raises(ValueError, match=r"give uint8 \[height, width, 3\]"):
            encode(other)
    for quality in (0, -1, 101):
        with pytest.raises(ValueError, match=f"the quality is {quality}: give 1 to 100"):
            encode(image, quality)
