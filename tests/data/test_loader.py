"""Background batches: the right pictures, whatever the number of threads; errors where they belong."""

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
from alexnet.native import Threads

SIZE, CROP, PICTURES = 24, 20, 30


def made(folder: Path, size: int, pictures: int) -> StoreSplit:
    random = np.random.default_rng(0)
    for part, count in (("train", pictures // 2), ("val", 2)):
        for name in ("a", "b"):
            (folder / "source" / part / name).mkdir(parents=True)
            for i in range(count):
                picture = Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=np.uint8))
                picture.save(folder / "source" / part / name / f"{i}.png")
    prepare(folder / "source", folder / "store", size=size, workers=1)
    return Store(folder / "store").split("train")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> StoreSplit:
    return made(tmp_path_factory.mktemp("loader"), SIZE, PICTURES)


def draw(epoch: int = 0) -> augment.Draws:
    return augment.draw_epoch(AugmentConfig(), PICTURES, SIZE, CROP, seed=0, epoch=epoch)


TORCHS = kernels.threads(torch.device("cpu"))
THREADS = [
    None,
    pytest.param(TORCHS, marks=pytest.mark.skipif(TORCHS is None, reason="no kernels with threads")),
]


@pytest.mark.parametrize("threads", THREADS, ids=["beside", "when asked"])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_hold_the_drawn_patches(split, workers, threads):
    draws = draw()
    batches = list(loader.training_batches(split, draws, 8, CROP, workers=workers, threads=threads))
    assert len(batches) == PICTURES // 8
    position = 0
    for batch in batches:
        for patch, label in zip(batch.patches, batch.labels, strict=True):
            row = int(draws.order[position])
            picture = split.picture(row)
            expected = pixels.crop_and_mirror(picture, draws.offsets[position], draws.mirrored[position], CROP)
            assert np.array_equal(patch.numpy(), expected)
            assert label == split.labels[row]
            position += 1


@pytest.mark.parametrize("threads", THREADS, ids=["beside", "when asked"])
@pytest.mark.parametrize("on", ["", "off"])
def test_patches_of_jpeg_pictures_are_cut_out_of_what_libjpeg_turbo_decodes(
    tmp_path: Path, on: str, threads: Threads | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    split = made(tmp_path, 136, 8)
    draws = augment.draw_epoch(AugmentConfig(), 8, 136, 112, seed=0, epoch=0)
    (batch,) = loader.training_batches(split, draws, 8, 112, threads=threads)
    whole = [simplejpeg.decode_jpeg(split.image(row)) for row in range(8)]
    patches = zip(draws.order, draws.offsets, draws.mirrored, strict=True)
    expected = [pixels.crop_and_mirror(whole[row], offset, mirrored, 112) for row, offset, mirrored in patches]
    assert np.array_equal(batch.patches.numpy(), expected)
    ((pictures, _, _),) = loader.in_order(split, 8, threads=threads)
    assert np.array_equal(pictures.numpy(), whole)


def test_starting_late_gives_the_rest_of_the_epoch(split):
    whole = list(loader.training_batches(split, draw(), 8, CROP, workers=2))
    rest = list(loader.training_batches(split, draw(), 8, CROP, start=2, workers=2))
    assert len(rest) == len(whole) - 2
    assert torch.equal(rest[0].patches, whole[2].patches)
    assert np.array_equal(rest[0].colour, whole[2].colour)


def test_in_order_shows_every_picture_once(split):
    seen = list(loader.in_order(split, 7, workers=2))
    assert [first for _, _, first in seen] == [0, 7, 14, 21, 28]
    pictures = torch.cat([pictures for pictures, _, _ in seen])
    assert len(pictures) == PICTURES
    assert all(np.array_equal(pictures[i].numpy(), split.picture(i)) for i in range(PICTURES))
    assert torch.equal(torch.cat([labels for _, labels, _ in seen]), torch.tensor(split.labels))


@pytest.mark.parametrize("threads", THREADS, ids=["beside", "when asked"])
@pytest.mark.parametrize("what", ["image", "decode"])
def test_an_error_in_a_thread_reaches_the_caller(split, monkeypatch, what, threads):
    def broken(self, row, *_):
        raise ValueError(f"row {row} is damaged")

    monkeypatch.setattr(type(split), what, broken)
    with pytest.raises(ValueError, match="is damaged"):
        list(loader.in_order(split, 7, workers=2, threads=threads))


def test_leaving_early_stops_the_threads(split):
    batches = loader.in_order(split, 2, workers=2)
    next(batches)
    assert isinstance(batches, Generator)
    batches.close()
