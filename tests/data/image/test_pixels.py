"""The compiled functions give Pillow's and NumPy's results to the last bit; without a compiler these do the work."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from compiling import check_source, open_again
from PIL import Image
from scenes import noise, photograph, saved

from alexnet.data.image import pixels

compiled = pytest.mark.skipif(pixels.library() is None, reason="no compiled functions here")
BOTH = pytest.mark.parametrize("kernels", [pytest.param("", marks=compiled), "off"])
SHAPES = ((1, 1), (1, 300), (300, 1), (7, 5), (33, 31), (64, 64), (375, 500), (500, 375), (97, 1000), (1000, 97))


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a process that has not opened the library yet."""
    monkeypatch.delenv("ALEXNET_KERNELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    open_again(pixels, "loaded", monkeypatch)
    return tmp_path


def resized_by_pillow(image: np.ndarray, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Pillow's BICUBIC along rows and then along columns, which is the order of all its versions but 13."""
    (left, top, right, bottom), height = box, len(image)
    narrow = Image.fromarray(image).resize((size, height), Image.Resampling.BICUBIC, (left, 0, right, height))
    return np.asarray(narrow.resize((size, size), Image.Resampling.BICUBIC, (0, top, size, bottom)))


def central_square(height: int, width: int) -> tuple[float, float, float, float]:
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


@BOTH
@pytest.mark.parametrize("size", [1, 16, 61, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_central_square_is_resized_as_by_pillow(
    kernels: str, shape: tuple[int, int], size: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALEXNET_KERNELS", kernels)
    image, box = noise(*shape), central_square(*shape)
    assert np.array_equal(pixels.resize(image, box, size), resized_by_pillow(image, box, size))


@BOTH
def test_any_box_is_resized_as_by_pillow(kernels: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", kernels)
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
        expected = resized_by_pillow(np.ascontiguousarray(image), box, size)
        assert np.array_equal(pixels.resize(image, box, size), expected)


@BOTH
@pytest.mark.parametrize("shape", [*SHAPES, (16, 16), (16, 17), (1, 15), (1, 49), (2048, 1024)])
def test_moments_are_exact(kernels: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", kernels)
    for image in (noise(*shape), np.full((*shape, 3), 255, np.uint8)):
        first, second = np.full(image.shape, 200, np.uint16), np.full((3, 3), 5, np.int64)
        pixels.add_moments(image, first, second)
        wide = image.reshape(-1, 3).astype(np.int64)
        assert np.array_equal(first, image.astype(np.uint16) + 200)
        assert np.array_equal(second, wide.T @ wide + 5)


BOXES = {
    "left of it": (-0.5, 0, 5, 5),
    "above it": (0, -1, 5, 5),
    "right of it": (0, 0, 6.5, 5),
    "below it": (0, 0, 5, 5.01),
    "empty": (2, 2, 2, 4),
    "turned": (4, 4, 2, 2),
    "no number": (0, 0, float("nan"), 5),
    "infinite": (0, 0, 5, float("inf")),
}


@BOTH
@pytest.mark.parametrize("name", BOXES)
def test_a_box_that_is_not_inside_the_image_is_refused(name: str, kernels: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", kernels)
    with pytest.raises(ValueError, match="is not inside an image of 5 rows and 6 columns"):
        pixels.resize(noise(5, 6), BOXES[name], 3)


IMAGE = noise(5, 6)
NO_IMAGES = [
    IMAGE.astype(np.int64),
    IMAGE[..., 0],
    IMAGE[..., :2],
    np.zeros((5, 6, 4), np.uint8),
    IMAGE[:0],
    IMAGE[:, :0],
    IMAGE[None],
]


@BOTH
def test_other_arrays_are_refused_by_every_function(kernels: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", kernels)
    for image in NO_IMAGES:
        with pytest.raises(ValueError, match=r"give uint8 \[height, width, 3\]"):
            pixels.resize(image, (0, 0, 1, 1), 3)
        with pytest.raises(ValueError, match=r"give uint8 \[height, width, 3\]"):
            pixels.add_moments(image, np.zeros(image.shape, np.uint16), np.zeros((3, 3), np.int64))
    first, second = np.zeros(IMAGE.shape, np.uint16), np.zeros((3, 3), np.int64)
    locked = first.copy()
    locked.setflags(write=False)
    for other in (first.astype(np.int64), first[:4], np.zeros((6, 5, 3), np.uint16).transpose(1, 0, 2), locked):
        with pytest.raises(ValueError, match=r"give contiguous uint16 \[5, 6, 3\]"):
            pixels.add_moments(IMAGE, other, second)
    for other in (second.astype(np.int32), second[:2]):
        with pytest.raises(ValueError, match=r"give int64 \[3, 3\]"):
            pixels.add_moments(IMAGE, first, other)
    assert not first.any() and not second.any()


@BOTH
def test_crops_are_refused_unless_they_fit_the_images_and_the_result(kernels: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", kernels)
    data, shape = [saved(photograph(40), "JPEG")] * 2, (40, 40)
    crops, out = np.zeros((2, 3), np.int64), np.zeros((2, 32, 32, 3), np.uint8)
    locked = out.copy()
    locked.setflags(write=False)
    for wrong in (out[:1], out[..., :2], out[0], out.astype(np.int16), out[:, :, ::2], locked):
        with pytest.raises(ValueError, match="the crops would be written to"):
            pixels.decode_crops(data, shape, crops, wrong)
    for wrong in (crops[:1], crops[:, :2], crops.astype(float), crops.astype(np.uint64)):
        with pytest.raises(ValueError, match=r"give int64 \[2, 3\]"):
            pixels.decode_crops(data, shape, wrong, out)
    for top, left in ((-1, 0), (0, -1), (9, 0), (0, 9), (2**62, 0)):
        with pytest.raises(ValueError, match="a crop of 32 x 32 pixels is not inside"):
            pixels.decode_crops(data, shape, np.array([[0, 0, 0], [top, left, 0]]), out)
        with pytest.raises(ValueError, match="is not inside 40 rows and 40 columns"):
            pixels.crop_and_mirror(photograph(40), (top, left), False, 32)
    pixels.decode_crops(data, shape, crops.astype(np.int32) + 8, out)


@compiled
def test_a_build_for_any_processor_gives_the_same(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    image, box = noise(375, 500), central_square(375, 500)
    expected = pixels.resize(image, box, 256)
    pixels.loaded.cache_clear()
    monkeypatch.setattr(pixels, "FLAGS", pixels.FLAGS[-1:])
    before = set((fresh / "cache" / "alexnet").iterdir())
    assert np.array_equal(pixels.resize(image, box, 256), expected)
    assert len(set((fresh / "cache" / "alexnet").iterdir()) - before) == 1
    test_moments_are_exact("", (33, 31), monkeypatch)
    for sampling in ("4:2:0", "4:4:4"):
        data = saved(photograph(201), "JPEG", quality=95, subsampling=sampling)
        whole, out = simplejpeg.decode_jpeg(data), np.empty((1, 180, 180, 3), np.uint8)
        assert pixels.decode_crops([data], (201, 201), np.array([[21, 5, 1]]), out).all()
        assert np.array_equal(out[0], pixels.crop_and_mirror(whole, (21, 5), True, 180))


@compiled
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3", "skylake-avx512", "icelake-server", "armv8-a"])
def test_the_source_compiles_for_every_processor(fresh: Path, processor: str):
    check_source(pixels.SOURCE, fresh, f"-march={processor}", "-Wall", "-Werror", "-Wno-psabi")


def test_without_a_compiler_one_warning_says_so(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", str(fresh / "nowhere"))
    message = "Pillow and decoded by libjpeg-turbo, with the same result.*no C.. compiler"
    with pytest.warns(RuntimeWarning, match=message):
        pixels.library()
    image, box = noise(30, 40), central_square(30, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resized = pixels.resize(image, box, 9)
    assert np.array_equal(resized, resized_by_pillow(image, box, 9)) and resized.flags.writeable


def test_turned_off_it_is_not_loaded(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    monkeypatch.setattr(pixels, "load", lambda: pytest.fail("loaded"))
    assert pixels.library() is None


def test_it_needs_no_torch():
    code = "import sys; from alexnet.data.image import pixels; pixels.library(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
