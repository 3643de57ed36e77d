"""Batches hold the right images, whatever the number of threads; an error is raised at its batch."""

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from alexnet.config import AugmentConfig
from alexnet.data import augment, loader
from alexnet.data.image import pixels
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store, StoreSplit
from alexnet.model.cpu import kernels
from alexnet.native.library import Threads

SIZE, CROP, IMAGES = 24, 20, 30


def made(folder: Path, size: int, images: int) -> StoreSplit:
    random = np.random.default_rng(0)
    for part, count in (("train", images // 2), ("val", 2)):
        for name in ("a", "b"):
            (folder / "source" / part / name).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8))
                image.save(folder / "source" / part / name / f"{i}.png")
    prepare(folder / "source", folder / "store", size=size, workers=1)
    return Store(folder / "store").split("train")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> StoreSplit:
    return made(tmp_path_factory.mktemp("loader"), SIZE, IMAGES)


def draw(epoch: int = 0) -> augment.Draws:
    return augment.draw_epoch(AugmentConfig(), IMAGES, SIZE, CROP, seed=0, epoch=epoch)


TORCHS = kernels.threads(torch.device("cpu"))
THREADS = [
    None,
    pytest.param(TORCHS, marks=pytest.mark.skipif(TORCHS is None, reason="no kernels with threads")),
]


@pytest.mark.parametrize("threads", THREADS, ids=["own threads", "caller's threads"])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_hold_the_drawn_crops(split, workers, threads):
    draws = draw()
    batches = list(loader.training_batches(split, draws, 8, CROP, workers=workers, threads=threads))
    assert len(batches) == IMAGES // 8
    position = 0
    for batch in batches:
        for crop, label in zip(batch.crops, batch.labels, strict=True):
            row = int(draws.order[position])
            image = split.image(row)
            expected = pixels.crop_and_mirror(image, draws.offsets[position], draws.mirrored[position], CROP)
            assert np.array_equal(crop.numpy(), expected)
            assert label == split.labels[row]
            position += 1


@pytest.mark.parametrize("threads", THREADS, ids=["own threads", "caller's threads"])
@pytest.mark.parametrize("on", ["", "off"])
def test_crops_of_jpeg_images_are_those_of_libjpeg_turbo(
    tmp_path: Path, on: str, threads: Threads | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    split = made(tmp_path, 136, 8)
    draws = augment.draw_epoch(AugmentConfig(), 8, 136, 112, seed=0, epoch=0)
    (batch,) = loader.training_batches(split, draws, 8, 112, threads=threads)
    whole = [simplejpeg.decode_jpeg(split.encoded(row)) for row in range(8)]
    drawn = zip(draws.order, draws.offsets, draws.mirrored, strict=True)
    expected = [pixels.crop_and_mirror(whole[row], offset, mirrored, 112) for row, offset, mirrored in drawn]
    assert np.array_equal(batch.crops.numpy(), expected)
    ((images, _, _),) = loader.in_order(split, 8, threads=threads)
    assert np.array_equal(images.numpy(), whole)


def test_a_later_start_gives_the_rest_of_the_epoch(split):
    whole = list(loader.training_batches(split, draw(), 8, CROP, workers=2))
    rest = list(loader.training_batches(split, draw(), 8, CROP, start=2, workers=2))
    assert len(rest) == len(whole) - 2
    assert torch.equal(rest[0].crops, whole[2].crops)
    assert np.array_equal(rest[0].colour_alphas, whole[2].colour_alphas)


def test_in_order_yields_every_image_once(split):
    seen = list(loader.in_order(split, 7, workers=2))
    assert [first for _, _, first in seen] == [0, 7, 14, 21, 28]
    images = torch.cat([images for images, _, _ in seen])
    assert len(images) == IMAGES
    assert all(np.array_equal(images[i].numpy(), split.image(i)) for i in range(IMAGES))
    assert torch.equal(torch.cat([labels for _, labels, _ in seen]), torch.tensor(split.labels))


@pytest.mark.parametrize("finishes", [False, True])
def test_an_error_in_a_thread_reaches_the_caller(finishes: bool) -> None:
    def broken(_: np.ndarray, positions: range) -> None:
        if 9 in positions:
            raise ValueError("row 9 is damaged")

    finish = (lambda *_: None) if finishes else None
    found = []
    with pytest.raises(ValueError, match="row 9 is damaged"):
        found.extend(loader.in_background(iter([range(7), range(7, 14), range(14, 21)]), 4, broken, 2, finish))
    assert [positions for _, positions in found] == [range(7)]


def test_closing_the_batches_stops_the_threads(split):
    batches = loader.in_order(split, 2, workers=2)
    next(batches)
    assert isinstance(batches, Generator)
    batches.close()
