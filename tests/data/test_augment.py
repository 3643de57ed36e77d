"""Crops, mirroring and colours, against torchvision and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torchvision.transforms import functional as tv

from alexnet.config import AugmentConfig
from alexnet.data import augment
from alexnet.data.image import pixels

SIZE, CROP = 40, 32


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)


def test_crop_and_mirror_equal_torchvision(images):
    draws = augment.draw_epoch(AugmentConfig(), 6, SIZE, CROP, seed=3, epoch=0)
    assert draws.mirrored.any() and not draws.mirrored.all()
    for image, offset, mirrored in zip(images, draws.offsets, draws.mirrored, strict=True):
        crop = pixels.crop_and_mirror(image, offset, mirrored, CROP)
        theirs = tv.crop(torch.from_numpy(image).permute(2, 0, 1), int(offset[0]), int(offset[1]), CROP, CROP)
        theirs = tv.hflip(theirs) if mirrored else theirs
        assert torch.equal(torch.from_numpy(crop.copy()).permute(2, 0, 1), theirs)


def test_colour_axes_are_the_principal_components():
    random = np.random.default_rng(0)
    pixels = random.standard_normal((5000, 3)) @ random.standard_normal((3, 3)) * 50 + 120
    eigenvalues, axes = augment.colour_axes(np.cov(pixels.T))
    pca = PCA().fit(pixels)
    assert pca.components_ is not None
    np.testing.assert_allclose(eigenvalues[::-1], pca.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(axes.T[::-1] @ pca.components_.T), np.eye(3), atol=1e-9)


def test_colour_shift_has_the_formulas_covariance():
    """alpha ~ N(0, 0.1) along each axis times lambda, with lambda for intensities from 0 to 1."""
    covariance = np.array([[5000.0, 4000, 3500], [4000, 4800, 3900], [3500, 3900, 5200]])
    draws = augment.draw_epoch(AugmentConfig(), 100_000, SIZE, CROP, seed=0, epoch=0)
    shift = augment.colour_shift(draws.colour_alphas, covariance)
    eigenvalues, axes = augment.colour_axes(covariance)
    along = shift @ axes / 255  # intensities from 0 to 1
    np.testing.assert_allclose(along.std(0), 0.1 * eigenvalues / 255**2, rtol=0.02)
    np.testing.assert_allclose(along.mean(0), 0, atol=0.02 * 0.1 * eigenvalues.max() / 255**2)


def test_draws_depend_on_seed_and_epoch_alone():
    def draw(seed, epoch):
        return augment.draw_epoch(AugmentConfig(), 500, SIZE, CROP, seed, epoch)

    first, again = draw(1, 2), draw(1, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for other in (draw(1, 3), draw(2, 2)):
        assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert np.array_equal(np.sort(first.order), np.arange(500))
    assert first.offsets.min() == 0 and first.offsets.max() == SIZE - CROP - 1


def test_each_augmentation_can_be_turned_off():
    draws = augment.draw_epoch(AugmentConfig(random_crop=False, mirror=False, colour_noise=0), 50, SIZE, CROP, 0, 0)
    assert (draws.offsets == (SIZE - CROP) // 2).all() and not draws.mirrored.any() and not draws.colour_alphas.any()


def test_an_image_of_the_networks_size_has_one_crop():
    draws = augment.draw_epoch(AugmentConfig(), 6, SIZE, SIZE, seed=0, epoch=0)
    assert not draws.offsets.any()


ORIGINAL = AugmentConfig(
    shuffle="once",
    include_last_offset=True,
    images_per_crop=32,
    mean_crop="central",
    colour_scale="standard-deviations",
)


def test_the_originals_order_never_changes_and_32_images_share_a_crop():
    draws = [augment.draw_epoch(ORIGINAL, 500, SIZE, CROP, 1, epoch) for epoch in range(3)]
    assert all(np.array_equal(draws[0].order, other.order) for other in draws)
    assert np.array_equal(np.sort(draws[0].order), np.arange(500))
    assert not np.array_equal(draws[0].offsets, draws[1].offsets)
    for start in range(0, 500, 32):
        assert len(np.unique(draws[0].offsets[start : start + 32], axis=0)) == 1
        assert len(np.unique(draws[0].mirrored[start : start + 32])) == 1
    assert len(np.unique(draws[0].colour_alphas, axis=0)) == 500  # each image has its own colour


def test_the_original_has_33_offsets_where_the_paper_has_32():
    offsets = {config.include_last_offset: [] for config in (ORIGINAL, AugmentConfig())}
    for config in (ORIGINAL, AugmentConfig()):
        draws = augment.draw_epoch(config, 32 * 20_000, 256, 224, 0, 0)
        offsets[config.include_last_offset] = np.unique(draws.offsets, axis=0).tolist()
    assert len(offsets[True]) == 33 * 33 and len(offsets[False]) == 32 * 32


def test_the_originals_colour_scale():
    """docs/specification.md, "The images": x <- (x + 0.1 P (sigma N(0, I))) / 1.1 with ImageNet's sigma. The division
    is `network_input`'s."""
    sigma = np.array([19.72, 37.09, 121.78])
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    covariance = (axes * sigma**2) @ axes.T
    draws = augment.draw_epoch(ORIGINAL, 100_000, SIZE, CROP, seed=0, epoch=0)
    shift = augment.colour_shift(draws.colour_alphas, covariance, ORIGINAL.colour_scale)
    np.testing.assert_allclose((shift @ axes).std(0), 0.1 * sigma, rtol=0.02)
