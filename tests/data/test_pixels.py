"""What is compiled gives what Pillow and NumPy give, to the last bit; without a compiler these do the work."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from compiling import check_source
from PIL import Image

from alexnet.data import pixels

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


def pillows(picture: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Pillow's BICUBIC along the rows, and then along the columns, as all of its versions but 13 go about it."""
    (left, top, right, bottom), height = box, len(picture)
    narrow = Image.fromarray(picture).resize((size, height), Image.Resampling.BICUBIC, (left, 0, right, height))
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
    picture = noise(*shape)
    assert np.array_equal(pixels.resize(picture, square(*shape), size), pillows(picture, square(*shape), size))


@BOTH
def test_any_box_is_pillows(on: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    random = np.random.default_rng(0)
    for seed in range(60):
        height, width = (int(each) for each in random.integers(1, 120, 2))
        size, picture = int(random.integers(1, 90)), noise(height, width, seed)
        left, top = random.random(2) * (width, height) * 0.9
        box = (left, top, left + (width - left) * random.random(), top + (height - top) * random.random())
        if seed % 3 == 0:
            picture[...] = picture[..., :1]  # grey
        if seed % 5 == 0:
            picture = np.where(picture > 127, 255, 0).astype(np.uint8)  # overshoots
        if seed % 7 == 0:
            picture = picture[::-1, ::-1]
        assert np.array_equal(pixels.resize(picture, box, size), pillows(np.ascontiguousarray(picture), box, size))


@BOTH
@pytest.mark.parametrize("shape", [*SHAPES, (16, 16), (16, 17), (1, 15), (1, 49), (2048, 1024)])
def test_sums_are_numpys(on: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    for picture in (noise(*shape), np.full((*shape, 3), 255, np.uint8)):
        values, products = np.full(picture.shape, 200, np.uint16), np.full((3, 3), 5, np.int64)
        pixels.add(picture, values, products)
        wide = picture.reshape(-1, 3).astype(np.int64)
        assert np.array_equal(values, picture.astype(np.uint16) + 200)
        assert np.array_equal(products, wide.T @ wide + 5)


@BOTH
@pytest.mark.parametrize(("size", "crop"), [(256, 224), (256, 256), (24, 20), (7, 7), (6, 6), (5, 5), (2, 1), (1, 1)])
def test_patches_are_those_that_are_cut_out(on: str, size: int, crop: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    picture = noise(size, size, size)
    picture.setflags(write=False)
    for top, left in ((0, 0), (size - crop, 0), ((size - crop) // 2, size - crop), (size - crop, size - crop)):
        patch = picture[top : top + crop, left : left + crop]
        for mirrored, expected in ((False, patch), (True, patch[:, ::-1])):
            around = np.full((crop + 2, crop, 3), 99, np.uint8)
            pixels.copy_patch(picture, top, left, mirrored, around[1:-1])
            assert np.array_equal(around[1:-1], expected)
            assert (around[[0, -1]] == 99).all()  # and nothing beside it


@compiled
def test_a_patch_outside_the_picture_is_not_read():
    for top, left in ((-1, 0), (0, -1), (5, 0), (0, 5)):
        with pytest.raises(AssertionError):
            pixels.copy_patch(noise(8, 8), top, left, False, np.zeros((4, 4, 3), np.uint8))


@compiled
def test_a_processor_without_vectors_gives_the_same(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    picture = noise(375, 500)
    expected = pixels.resize(picture, square(375, 500), 256)
    pixels._loaded.cache_clear()
    monkeypatch.setattr(pixels, "FLAGS", pixels.FLAGS[-1:])
    before = set((fresh / "cache" / "alexnet").iterdir())
    assert np.array_equal(pixels.resize(picture, square(375, 500), 256), expected)
    assert len(set((fresh / "cache" / "alexnet").iterdir()) - before) == 1
    test_sums_are_numpys("", (33, 31), monkeypatch)
    test_patches_are_those_that_are_cut_out("", 24, 20, monkeypatch)


@compiled
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3", "skylake-avx512", "icelake-server", "armv8-a"])
def test_the_source_is_for_every_processor(fresh: Path, processor: str):
    check_source(pixels.SOURCE, fresh, f"-march={processor}", "-Wall", "-Werror", "-Wno-psabi")


def test_without_a_compiler_it_says_so_once(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", str(fresh / "nowhere"))
    with pytest.warns(RuntimeWarning, match="Pillow and cut out by NumPy, with the same result.*no C.. compiler"):
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
    code = "import sys; from alexnet.data import pixels; pixels.library(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
