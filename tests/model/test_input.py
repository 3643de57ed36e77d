"""The network's input: crops and views lose the right part of the mean image, with and without kernels."""

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as tv

from alexnet.model import input as network_inputs
from alexnet.model.input import network_input

SIZE, CROP = 40, 32
CENTRE = (SIZE - CROP) // 2
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mean() -> torch.Tensor:
    return torch.rand(SIZE, SIZE, 3, generator=torch.Generator().manual_seed(1)) * 255


@pytest.fixture(params=["kernels", "plain"])
def _kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiled kernels where there are any, and without."""
    if request.param == "plain":
        monkeypatch.setenv("ALEXNET_KERNELS", "off")


def cropped(image: np.ndarray, offset: np.ndarray, mirrored: bool) -> np.ndarray:
    top, left = offset
    crop = image[top : top + CROP, left : left + CROP]
    return crop[:, ::-1] if mirrored else crop


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("divisor", [1.0, 1.1])
@pytest.mark.parametrize("central", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_crop_loses_the_mean_of_its_own_pixels_or_the_central_one(images, mean, dtype, central, divisor):
    """Against NumPy in float64: subtract from the whole image, then crop and mirror. The central mean is never
    mirrored."""
    random = np.random.default_rng(2)
    offsets, mirrored = random.integers(0, SIZE - CROP + 1, (6, 2)), random.random(6) < 0.5
    assert mirrored.any() and not mirrored.all()
    shift = random.normal(0, 20, (6, 3)).astype(np.float32)
    pixels, average = images.numpy().astype(np.float64), mean.numpy().astype(np.float64)
    whole = pixels if central else pixels - average
    expected = np.stack([cropped(w, o, m) for w, o, m in zip(whole, offsets, mirrored, strict=True)])
    if central:
        expected = expected - cropped(average, np.array([CENTRE, CENTRE]), mirrored=False)
    expected = (expected + shift[:, None, None]) / divisor
    crops = np.stack([cropped(i, o, m) for i, o, m in zip(images.numpy(), offsets, mirrored, strict=True)])
    x = network_input(
        *(torch.from_numpy(crops), mean, torch.from_numpy(offsets), torch.from_numpy(mirrored)),
        shift=torch.from_numpy(shift),
        dtype=dtype,
        central=central,
        divisor=divisor,
    )
    assert x.shape == (6, 3, CROP, CROP) and x.dtype == dtype
    assert x.is_contiguous(memory_format=torch.channels_last)
    difference = np.abs(x.permute(0, 2, 3, 1).double().numpy() - expected)
    precision = torch.finfo(torch.bfloat16 if dtype == torch.bfloat16 else torch.float32).eps
    assert (difference <= 2 * precision * 300).all()  # two roundings of numbers up to about 300


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "crop"), [(256, 224), (37, 30), (20, 20), (9, 1)])
@pytest.mark.parametrize(("central", "divisor"), [(False, 1.0), (True, 1.1)])
def test_kernels_give_the_same_bits(size, crop, dtype, central, divisor, monkeypatch):
    random = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (9, crop, crop, 3), dtype=torch.uint8, generator=random)
    offsets = torch.randint(0, size - crop + 1, (9, 2), generator=random)
    mirrored = torch.rand(9, generator=random) < 0.5
    average = torch.rand(size, size, 3, generator=random) * 255
    shift = torch.randn(9, 3, generator=random) * 10
    made = []
    for setting in ("", "off"):
        monkeypatch.setenv("ALEXNET_KERNELS", setting)
        made.append(
            network_input(crops, average, offsets, mirrored, shift=shift, dtype=dtype, central=central, divisor=divisor)
        )
    assert torch.equal(*made)


@pytest.mark.usefixtures("_kernels")
def test_ten_views_are_torchvisions_in_our_order(images):
    """Corners and centre, then their mirrors. With a mean of 0 the views are the pixels."""
    ours = network_inputs.views(images, torch.zeros(SIZE, SIZE, 3), CROP, 10)
    assert ours.shape == (6, 10, 3, CROP, CROP) and ours.dtype == torch.float32
    top_left, top_right, bottom_left, bottom_right, centre, *mirrored = tv.ten_crop(
        images.permute(0, 3, 1, 2).float(), [CROP, CROP]
    )
    for i, view in enumerate((top_left, top_right, centre, bottom_left, bottom_right)):
        assert torch.equal(ours[:, i], view)
        assert torch.equal(ours[:, 5 + i], tv.hflip(view))
    assert {v.numpy().tobytes() for v in mirrored} == {ours[:, 5 + i].numpy().tobytes() for i in range(5)}


def test_the_centre_view_is_torchvisions(images):
    ours = network_inputs.views(images, torch.zeros(SIZE, SIZE, 3), CROP, 1)
    assert torch.equal(ours[:, 0], tv.center_crop(images.permute(0, 3, 1, 2).float(), [CROP, CROP]))


@pytest.mark.usefixtures("_kernels")
def test_views_lose_their_own_mean_or_the_central_one(images, mean):
    raw = network_inputs.views(images, torch.zeros(SIZE, SIZE, 3), CROP, 10)
    own, central = (network_inputs.views(images, mean, CROP, 10, central=flag) for flag in (False, True))
    means = torch.stack(tv.ten_crop(mean.permute(2, 0, 1), [CROP, CROP]))[
        [0, 1, 4, 2, 3, 6, 5, 9, 8, 7]
    ]  # in our order
    torch.testing.assert_close(raw - own, means.expand(raw.shape))
    torch.testing.assert_close(raw - central, means[2].expand(raw.shape))
    for flag in (False, True):  # the centre view is the same either way
        assert torch.equal(network_inputs.views(images, mean, CROP, 1, central=flag)[:, 0], own[:, 2])


def test_an_image_of_the_networks_size_has_one_view(images):
    views = network_inputs.views(images, torch.zeros(SIZE, SIZE, 3), SIZE, 10)
    assert all(torch.equal(views[:, 0], views[:, i]) for i in range(5))
