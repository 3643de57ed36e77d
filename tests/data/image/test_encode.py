"""What a store holds: lossless below 128 pixels, JPEG of the given quality from there up."""

import io

import numpy as np
import pytest
from PIL import Image
from scenes import scene

from alexnet.data.image.encode import decode_stored, encode


@pytest.mark.parametrize(
    ("size", "start"),
    [(1, b"BM"), (30, b"BM"), (31, b"BM"), (32, b"BM"), (127, b"BM"), (128, b"\xff\xd8"), (200, b"\xff\xd8")],
)
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


def test_a_small_image_is_what_pillow_writes_but_for_its_resolution() -> None:
    for size in (15, 16):
        theirs = io.BytesIO()
        Image.fromarray(scene(size, size)).save(theirs, "BMP")
        data = bytearray(theirs.getvalue())
        data[38:46] = bytes(8)  # dots per metre
        assert encode(scene(size, size)) == data


def test_a_bitmap_of_another_kind_or_length_is_refused() -> None:
    data = encode(scene(9, 9))
    for at in range(54):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(ValueError, match=r"^it is (neither JPEG|\d+x-?\d+ and not 9x9|BMP of another kind)"):
            decode_stored(changed, 9)
    for other in (data[:-1], data + b"\0", data[:54]):
        with pytest.raises(ValueError, match=f"^it has {len(other)} bytes and not 306$"):
            decode_stored(other, 9)
    with pytest.raises(ValueError, match=r"^it is 0x0 and not 9x9$"):
        decode_stored(b"BM", 9)
