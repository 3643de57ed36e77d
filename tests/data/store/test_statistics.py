"""The sums behind mean and covariance are exact, however the images were shared among workers."""

import numpy as np
import pytest

from alexnet.data.store.statistics import MAX_IMAGES_16BIT, Sums


def noise(count: int, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def sums_of(images: np.ndarray) -> Sums:
    sums = Sums.zeros(images.shape[1])
    for image in images:
        sums.add_image(image)
    return sums


def test_sums_are_exact() -> None:
    images = noise(20)
    sums = sums_of(images)
    wide = images.astype(np.int64)
    assert sums.images == 20
    assert np.array_equal(sums.first, wide.sum(axis=0))
    assert np.array_equal(sums.second, np.einsum("nhwa,nhwb->ab", wide, wide))


@pytest.mark.parametrize(("count", "size"), [(600, 5), (1, 256), (2, 17), (3, 16)])
@pytest.mark.parametrize("grey", [255, 254])
def test_sums_of_the_brightest_images_do_not_overflow(count: int, size: int, grey: int) -> None:
    images = np.full((count, size, size, 3), grey, np.uint8)
    images[-1, -1, -1] = (1, 2, 3)
    sums = Sums.zeros(size)
    for first in range(0, count, MAX_IMAGES_16BIT):
        few = Sums.zeros_16bit(size)
        for image in images[first : first + MAX_IMAGES_16BIT]:
            few.add_image(image)
        sums.add(few)
    wide = images.reshape(-1, 3).astype(np.int64)
    assert sums.images == sums_of(images).images == count
    assert np.array_equal(sums.first, sums_of(images).first)
    assert np.array_equal(sums.first, images.sum(axis=0, dtype=np.int64))
    assert np.array_equal(sums.second, wide.T @ wide)


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_sums_do_not_depend_on_how_images_were_shared(parts: int) -> None:
    images = noise(20)
    whole, total = sums_of(images), Sums.zeros(12)
    for part in np.array_split(images[::-1], parts):
        total.add(sums_of(part))
    assert np.array_equal(total.mean(), whole.mean())
    assert np.array_equal(total.covariance(), whole.covariance())


def test_mean_and_covariance_are_numpys() -> None:
    images = noise(20)
    sums = sums_of(images)
    assert np.array_equal(sums.mean(), images.mean(axis=0, dtype=np.float64).astype(np.float32))
    np.testing.assert_allclose(sums.covariance(), np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-13)


def test_the_covariance_is_exact_beyond_64_bits() -> None:
    few = sums_of(np.full((1, 12, 12, 3), 251, np.uint8) - noise(1) // 128)
    times = 10**10
    many = Sums(few.images * times, few.first * times, few.second * times)
    assert np.array_equal(many.covariance(), few.covariance())
