"""Crops of JPEG images have libjpeg-turbo's pixels, or are left to it."""

from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from made_files import jpeg_with_huffman_codes
from scenes import noise, photograph, saved

from alexnet.data.image import pixels
from alexnet.data.image.decode import decode
from alexnet.model.cpu import kernels

pytestmark = pytest.mark.skipif(pixels.library() is None, reason="no compiled functions here")
SAMPLINGS = pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])


def jpeg(image: np.ndarray, quality: int = 95, **options: Any) -> bytes:
    """`image` as JPEG by Pillow, 4:2:0 unless `options` say otherwise."""
    return saved(image, "JPEG", quality=quality, **{"subsampling": "4:2:0", **options})


def decoded(
    data: bytes, shape: tuple[int, int], top: int = 0, left: int = 0, mirrored: bool = False, crop: int = 0
) -> Any:
    """The crop (without a size the whole image), or None if it is refused. Nothing outside it is written to."""
    rows, columns = (crop, crop) if crop else shape
    around = np.full((rows + 2, columns, 3), 99, np.uint8)
    (done,) = pixels.decode_crops([data], shape, np.array([[top, left, mirrored]]), around[np.newaxis, 1:-1])
    assert (around[[0, -1]] == 99).all()
    return around[1:-1] if done else None


@SAMPLINGS
@pytest.mark.parametrize("shape", [(16, 16), (17, 17), (31, 32), (1, 33), (128, 129), (201, 300), (256, 256)])
@pytest.mark.parametrize("quality", [20, 95, 100])
def test_whole_images_equal_libjpeg_turbos(shape: tuple[int, int], quality: int, sampling: str):
    height, width = shape
    smooth = np.ascontiguousarray(photograph(max(shape))[:height, :width])
    for image in (smooth, noise(height, width), np.full((height, width, 3), 255, np.uint8)):
        for options in ({}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}):
            data = jpeg(image, quality, subsampling=sampling, **options)
            assert np.array_equal(decoded(data, shape), simplejpeg.decode_jpeg(data))


def test_each_image_is_decoded_with_its_own_huffman_tables():
    for seed in range(5):  # in turn with the standard tables, so that none may be kept from the image before
        data = jpeg(photograph(100, seed), 40 + 10 * seed, optimize=True)
        assert np.array_equal(decoded(data, (100, 100)), simplejpeg.decode_jpeg(data))
        standard = jpeg(photograph(64))
        assert np.array_equal(decoded(standard, (64, 64)), simplejpeg.decode_jpeg(standard))


@SAMPLINGS
@pytest.mark.parametrize(("size", "crop"), [(256, 224), (201, 200), (128, 16), (40, 17), (64, 64)])
def test_a_crop_is_that_part_of_the_image_or_its_mirror(size: int, crop: int, sampling: str):
    data = jpeg(photograph(size), subsampling=sampling)
    image, edge = simplejpeg.decode_jpeg(data), size - crop
    for top, left in ((0, 0), (edge, 0), (edge // 2, edge), (edge, edge), (min(edge, 1), min(edge, 3))):
        for mirrored in (False, True):
            expected = pixels.crop_and_mirror(image, (top, left), mirrored, crop)
            assert np.array_equal(decoded(data, (size, size), top, left, mirrored, crop), expected)


@pytest.mark.parametrize("by", ["the calling thread", "torch's threads"])
def test_a_batch_of_crops_is_decoded_and_damaged_images_are_left_out(by: str):
    threads = kernels.threads(torch.device("cpu")) if by == "torch's threads" else None
    if by == "torch's threads" and threads is None:
        pytest.skip("kernels without threads")
    random = np.random.default_rng(0)
    images = [jpeg(photograph(64, seed)) for seed in range(40)]
    damaged = [3, 17, 39]
    for i in damaged:
        images[i] = images[i][:-20]
    crops = np.column_stack([random.integers(0, 33, (40, 2)), random.integers(0, 2, 40)])
    out = np.zeros((40, 32, 32, 3), np.uint8)
    done = pixels.decode_crops(images, (64, 64), crops, out, threads)
    assert np.flatnonzero(~done).tolist() == damaged
    for i in np.flatnonzero(done):
        top, left, mirrored = crops[i]
        whole = simplejpeg.decode_jpeg(images[i])
        assert np.array_equal(out[i], pixels.crop_and_mirror(whole, (top, left), bool(mirrored), 32))
    assert pixels.decode_crops([], (64, 64), crops[:0], out[:0], threads).shape == (0,)


@pytest.mark.parametrize(
    ("counts", "is_code"),
    [
        ([1], True),
        ([2], False),
        ([1, 1], True),
        ([1, 2], False),
        ([0, 3], True),
        ([0, 4], False),
        ([1, 1, 1, 1, 2], False),
    ],
)
def test_a_code_that_is_all_ones_is_refused_as_by_libjpeg_turbo(counts: list[int], is_code: bool):
    data = jpeg_with_huffman_codes(counts)
    if not is_code:
        assert decoded(data, (8, 16)) is None
        with pytest.raises(ValueError, match=r"(?i)huffman"):
            simplejpeg.decode_jpeg(data)
        with pytest.raises(ValueError, match="it cannot be decoded"):
            decode(data)
        return
    assert np.array_equal(decoded(data, (8, 16)), simplejpeg.decode_jpeg(data))


def test_metadata_is_skipped():
    for data in (jpeg(photograph(64)), jpeg(photograph(64), comment=b"x", exif=b"Exif\0\0x", icc_profile=b"x")):
        assert np.array_equal(decoded(data, (64, 64)), simplejpeg.decode_jpeg(data))


def test_other_kinds_of_jpeg_and_other_files_are_refused():
    image, shape = photograph(64), (64, 64)
    others = [
        *(simplejpeg.encode_jpeg(image, colorsubsampling=each) for each in ("422", "440", "411", "Gray")),
        jpeg(image, progressive=True),
        jpeg(photograph(65)),
        jpeg(image, keep_rgb=True, subsampling="4:4:4"),
        *(saved(image, "PNG"), b"", b"\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff"),
    ]
    for data in others:
        assert decoded(data, shape) is None


def test_narrow_crops_and_large_images_are_refused():
    assert decoded(jpeg(photograph(64)), (64, 64), crop=15) is None
    assert decoded(jpeg(noise(1, 1).repeat(2049, 0).repeat(2049, 1)), (2049, 2049)) is None


def damage(data: bytes, random: np.random.Generator) -> bytes:
    """`data` with one to three bits, bytes or runs of bytes changed, removed or added, often in the headers."""
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 4))):
        offset = int(random.integers(2, len(damaged) if random.random() < 0.7 else 620))
        match random.integers(4):
            case 0:
                damaged[offset] ^= 1 << int(random.integers(8))
            case 1:
                del damaged[offset : offset + int(random.integers(1, 9))]
            case 2:
                damaged[offset:offset] = random.bytes(int(random.integers(1, 9)))
            case _:
                damaged[offset] = int(random.integers(256))
    return bytes(damaged)


def test_a_damaged_image_is_refused_or_decoded_as_libjpeg_turbo_decodes_it():
    random = np.random.default_rng(0)
    images = [
        jpeg(photograph(64, seed), int(random.integers(20, 100)), subsampling=sampling, **options)
        for seed, sampling in enumerate(("4:2:0", "4:4:4") * 8)
        for options in ({}, {"restart_marker_blocks": 5})
    ]
    count = refused = 0
    for count in range(1, 3001):
        data = damage(images[count % len(images)], random)
        found = decoded(data, (64, 64))
        if found is None:
            refused += 1
        else:
            assert np.array_equal(found, simplejpeg.decode_jpeg(data))
    assert 500 < refused < count - 500


def test_a_truncated_image_is_refused():
    data = jpeg(photograph(64), restart_marker_blocks=5)
    for length in range(2, len(data)):
        assert decoded(data[:length], (64, 64)) is None


def test_a_crop_outside_the_image_is_an_error():
    data = jpeg(photograph(64))
    for top, left in ((-1, 0), (0, -1), (33, 0), (0, 33)):
        with pytest.raises(ValueError, match="a crop of 32 x 32 pixels is not inside an image of 64 x 64"):
            decoded(data, (64, 64), top, left, crop=32)
