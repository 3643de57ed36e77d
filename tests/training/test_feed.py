"""Batches are finished by the kernel as by plain operations, bit for bit."""

import numpy as np
import pytest
import torch

from alexnet.config import AugmentConfig
from alexnet.data import augment
from alexnet.data.loader import Batch
from alexnet.model.cpu import kernels
from alexnet.training.feed import finish

CPU = torch.device("cpu")
SETTINGS = [
    AugmentConfig(),
    AugmentConfig(mean_crop="central"),
    AugmentConfig(colour_scale="standard-deviations"),
    AugmentConfig(colour_noise=0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("size", "crop"), [(256, 224), (37, 30), (20, 20), (9, 1)])
@pytest.mark.parametrize("config", SETTINGS)
def test_with_and_without_kernels_it_is_the_same(config, size, crop, dtype, monkeypatch):
    random = np.random.default_rng(0)
    batch = Batch(
        torch.from_numpy(random.integers(0, 256, (9, crop, crop, 3), np.uint8)),
        torch.arange(9),
        random.integers(0, size - crop + 1, (9, 2)),
        random.random(9) < 0.5,
        random.standard_normal((9, 3), np.float32),
    )
    mean = torch.from_numpy(random.random((size, size, 3), np.float32) * 255)
    covariance = np.cov(random.random((3, 100)) * 255)
    made = []
    for on in ("", "off"):
        monkeypatch.setenv("ALEXNET_KERNELS", on)
        x, labels = finish(batch, mean, covariance, config, CPU, dtype)
        assert x.shape == (9, 3, crop, crop) and x.dtype == dtype and torch.equal(labels, torch.arange(9))
        assert x.is_contiguous(memory_format=torch.channels_last)
        made.append(x)
    assert torch.equal(*made)


@pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
def test_the_usual_batch_goes_through_the_kernel(monkeypatch):
    monkeypatch.setattr(augment, "remove_mean", lambda *_, **__: pytest.fail("the plain way"))
    batch = Batch(
        torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.zeros(2), np.zeros((2, 2), int), np.zeros(2, bool),
        np.zeros((2, 3), np.float32),
    )  # fmt: skip
    x, _ = finish(batch, torch.ones(5, 5, 3), np.eye(3), AugmentConfig(), CPU, torch.bfloat16)
    assert (x == -1).all()
