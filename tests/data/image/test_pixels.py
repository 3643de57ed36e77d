"""What is compiled gives what Pillow and NumPy give, to the last bit; without a compiler these do the work."""

import io
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from compiling import check_source
from PIL import Image

from alexnet.data.image import pixels
from alexnet.model.cpu import kernels

compiled = pytest.mark.skipif(pixels.library() is None, reason="no compiled functions here")
BOTH = pytest.mark.parametrize("on", [pytest.param("", marks=compiled), "off"])
SHAPES = ((1, 1), (1, 300), (300, 1), (7, 5), (33, 31), (64, 64), (375, 500), (500, 375), (97, 1000), (1000, 97))


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a process that has not loaded the functions yet."""
    monkeypatch.delenv("ALEXNET_KERNELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pixels._loaded.cache_clear()
    yield tmp_path
    pixels._loaded.cache_clear()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pillows(image: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Pillow's BICUBIC along the rows, and then along the columns, as all of its versions but 13 go about it."""
    (left, top, right, bottom), height = box, len(image)
    narrow = Image.fromarray(image).resize((size, height), Image.Resampling.BICUBIC, (left, 0, right, height))
    return np.asarray(narrow.resize((size, size), Image.Resampling.BICUBIC, (0, top, size, bottom)))


def square(height: int, width: int) -> tuple[float, float, float, float]:
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


@BOTH
@pytest.mark.parametrize("size", [1, 16, 61, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_central_square_is_pillows(on: str, shape: tuple[int, int], size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    image = noise(*shape)
    assert np.array_equal(pixels.resize(image, square(*shape), size), pillows(image, square(*shape), size))


@BOTH
def test_any_box_is_pillows(on: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    random = np.random.default_rng(0)
    for seed in range(60):
        height, width = (int(each) for each in random.integers(1, 120, 2))
        size, image = int(random.integers(1, 90)), noise(height, width, seed)
        left, top = random.random(2) * (width, height) * 0.9
        box = (left, top, left + (width - left) * random.random(), top + (height - top) * random.random())
        if seed % 3 == 0:
            image[...] = image[..., :1]  # grey
        if seed % 5 == 0:
            image = np.where(image > 127, 255, 0).astype(np.uint8)  # overshoots
        if seed % 7 == 0:
            image = image[::-1, ::-1]
        assert np.array_equal(pixels.resize(image, box, size), pillows(np.ascontiguousarray(image), box, size))


@BOTH
@pytest.mark.parametrize("shape", [*SHAPES, (16, 16), (16, 17), (1, 15), (1, 49), (2048, 1024)])
def test_sums_are_numpys(on: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    for image in (noise(*shape), np.full((*shape, 3), 255, np.uint8)):
        values, products = np.full(image.shape, 200, np.uint16), np.full((3, 3), 5, np.int64)
        pixels.add_moments(image, values, products)
        wide = image.reshape(-1, 3).astype(np.int64)
        assert np.array_equal(values, image.astype(np.uint16) + 200)
        assert np.array_equal(products, wide.T @ wide + 5)


def photograph(size: int, seed: int = 0) -> np.ndarray:
    """Something smooth, with noise on it."""
    coarse = Image.fromarray(noise(max(2, size // 16), max(2, size // 16), seed))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + np.random.default_rng(seed).normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int = 95, **options: Any) -> bytes:
    """By Pillow, 4:2:0 unless asked for something else."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, **{"subsampling": "4:2:0", **options})
    return file.getvalue()


def decoded(
    data: bytes, shape: tuple[int, int], top: int = 0, left: int = 0, mirrored: bool = False, crop: int = 0
) -> Any:
    """What comes out, None where it is refused; and nothing beside it is written to."""
    rows, columns = (crop, crop) if crop else shape
    around = np.full((rows + 2, columns, 3), 99, np.uint8)
    (done,) = pixels.decode_crops([data], shape, np.array([[top, left, mirrored]]), around[np.newaxis, 1:-1])
    assert (around[[0, -1]] == 99).all()
    return around[1:-1] if done else None


SAMPLINGS = pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])


@compiled
@SAMPLINGS
@pytest.mark.parametrize("shape", [(16, 16), (17, 17), (31, 32), (1, 33), (128, 129), (201, 300), (256, 256)])
@pytest.mark.parametrize("quality", [20, 95, 100])
def test_images_are_decoded_as_by_libjpeg_turbo(shape: tuple[int, int], quality: int, sampling: str):
    height, width = shape
    smooth = np.ascontiguousarray(photograph(max(shape))[:height, :width])
    for image in (smooth, noise(height, width), np.full((height, width, 3), 255, np.uint8)):
        for options in ({}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1}):
            data = jpeg(image, quality, subsampling=sampling, **options)
            assert np.array_equal(decoded(data, shape), simplejpeg.decode_jpeg(data))


@compiled
def test_codes_of_its_own_are_understood():
    for seed in range(5):  # one after the other, so that none is taken for those before
        data = jpeg(photograph(100, seed), 40 + 10 * seed, optimize=True)
        assert np.array_equal(decoded(data, (100, 100)), simplejpeg.decode_jpeg(data))
        assert np.array_equal(decoded(jpeg(photograph(64)), (64, 64)), simplejpeg.decode_jpeg(jpeg(photograph(64))))


@compiled
@SAMPLINGS
@pytest.mark.parametrize(("size", "crop"), [(256, 224), (201, 200), (128, 16), (40, 17), (64, 64)])
def test_patches_are_those_that_are_cut_out(size: int, crop: int, sampling: str):
    data = jpeg(photograph(size), subsampling=sampling)
    image, edge = simplejpeg.decode_jpeg(data), size - crop
    for top, left in ((0, 0), (edge, 0), (edge // 2, edge), (edge, edge), (min(edge, 1), min(edge, 3))):
        for mirrored in (False, True):
            expected = pixels.crop_and_mirror(image, (top, left), mirrored, crop)
            assert np.array_equal(decoded(data, (size, size), top, left, mirrored, crop), expected)


@compiled
@pytest.mark.parametrize("by", ["this thread", "torch's"])
def test_many_patches_are_decoded_at_once(by: str):
    threads = kernels.threads(torch.device("cpu")) if by == "torch's" else None
    if by == "torch's" and threads is None:
        pytest.skip("kernels without threads")
    random = np.random.default_rng(0)
    images = [jpeg(photograph(64, seed)) for seed in range(40)]
    refused = [3, 17, 39]
    for i in refused:
        images[i] = images[i][:-20]
    places = np.column_stack([random.integers(0, 33, (40, 2)), random.integers(0, 2, 40)])
    out = np.zeros((40, 32, 32, 3), np.uint8)
    done = pixels.decode_crops(images, (64, 64), places, out, threads)
    assert np.flatnonzero(~done).tolist() == refused
    for i in np.flatnonzero(done):
        top, left, mirrored = places[i]
        whole = simplejpeg.decode_jpeg(images[i])
        assert np.array_equal(out[i], pixels.crop_and_mirror(whole, (top, left), bool(mirrored), 32))
    assert pixels.decode_crops([], (64, 64), places[:0], out[:0], threads).shape == (0,)


@compiled
def test_other_images_are_left_to_others():
    image, shape = photograph(64), (64, 64)
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    others = [
        *(simplejpeg.encode_jpeg(image, colorsubsampling=each) for each in ("422", "440", "411", "Gray")),
        jpeg(image, progressive=True),
        jpeg(photograph(65)),
        jpeg(image, keep_rgb=True, subsampling="4:4:4"),
        *(png.getvalue(), b"", b"\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff"),
    ]
    for data in others:
        assert decoded(data, shape) is None
    for data in (jpeg(image), jpeg(image, comment=b"x", exif=b"Exif\0\0x", icc_profile=b"x")):
        assert np.array_equal(decoded(data, shape), simplejpeg.decode_jpeg(data))
    assert decoded(jpeg(image), shape, crop=15) is None
    assert decoded(jpeg(noise(1, 1).repeat(2049, 0).repeat(2049, 1)), (2049, 2049)) is None


@compiled
def test_a_damaged_image_is_refused_or_what_libjpeg_turbo_makes_of_it():
    random = np.random.default_rng(0)
    images = [
        jpeg(photograph(64, seed), int(random.integers(20, 100)), subsampling=sampling, **options)
        for seed, sampling in enumerate(("4:2:0", "4:4:4") * 8)
        for options in ({}, {"restart_marker_blocks": 5})
    ]
    made = refused = 0
    for number in range(3000):
        data = bytearray(images[number % len(images)])
        for _ in range(int(random.integers(1, 4))):
            place = int(random.integers(2, len(data) if random.random() < 0.7 else 620))
            match random.integers(4):
                case 0:
                    data[place] ^= 1 << int(random.integers(8))
                case 1:
                    del data[place : place + int(random.integers(1, 9))]
                case 2:
                    data[place:place] = random.bytes(int(random.integers(1, 9)))
                case _:
                    data[place] = int(random.integers(256))
        found = decoded(bytes(data), (64, 64))
        if found is not None:
            made += 1
            assert np.array_equal(found, simplejpeg.decode_jpeg(bytes(data)))
        else:
            refused += 1
    assert made > 500 and refused > 500
    for length in range(2, len(images[1])):
        assert decoded(images[1][:length], (64, 64)) is None


@compiled
def test_a_patch_outside_the_image_is_not_decoded():
    data = jpeg(photograph(64))
    for top, left in ((-1, 0), (0, -1), (33, 0), (0, 33)):
        with pytest.raises(AssertionError):
            decoded(data, (64, 64), top, left, crop=32)


@compiled
def test_a_processor_without_vectors_gives_the_same(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    image = noise(375, 500)
    expected = pixels.resize(image, square(375, 500), 256)
    pixels._loaded.cache_clear()
    monkeypatch.setattr(pixels, "FLAGS", pixels.FLAGS[-1:])
    before = set((fresh / "cache" / "alexnet").iterdir())
    assert np.array_equal(pixels.resize(image, square(375, 500), 256), expected)
    assert len(set((fresh / "cache" / "alexnet").iterdir()) - before) == 1
    test_sums_are_numpys("", (33, 31), monkeypatch)
    test_images_are_decoded_as_by_libjpeg_turbo((201, 300), 95, "4:2:0")
    test_patches_are_those_that_are_cut_out(256, 224, "4:4:4")


@compiled
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3", "skylake-avx512", "icelake-server", "armv8-a"])
def test_the_source_is_for_every_processor(fresh: Path, processor: str):
    check_source(pixels.SOURCE, fresh, f"-march={processor}", "-Wall", "-Werror", "-Wno-psabi")


def test_without_a_compiler_it_says_so_once(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", str(fresh / "nowhere"))
    with pytest.warns(
        RuntimeWarning, match="Pillow and decoded by libjpeg-turbo, with the same result.*no C.. compiler"
    ):
        pixels.library()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(
            pixels.resize(noise(30, 40), square(30, 40), 9), pillows(noise(30, 40), square(30, 40), 9)
        )


def test_turned_off_means_not_even_looked_for(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    monkeypatch.setattr(pixels, "load", lambda: pytest.fail("looked for"))
    assert pixels.library() is None


def test_it_needs_no_torch():
    code = "import sys; from alexnet.data.image import pixels; pixels.library(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
