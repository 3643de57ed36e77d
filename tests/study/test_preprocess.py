"""What a trained network's `preprocess` takes, and that it sees what the store of its training saw."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.config import load_config
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store.reader import Store
from alexnet.study.features import features
from alexnet.study.trained import load
from alexnet.training.run_folder import check_run, fit_to_store

SIZE = 56


@pytest.fixture(scope="module")
def sideways(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `source`, stored a quarter turned, with the orientation that turns them back."""
    folder = tmp_path_factory.mktemp("sideways")
    exif = Image.Exif()
    exif[0x0112] = 6
    for file in source.rglob("*.png"):
        path = folder / file.relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rot90(np.asarray(Image.open(file)))).save(path, exif=exif)
    return folder


@pytest.mark.parametrize("honour_exif", [False, True])
def test_a_network_sees_files_as_its_store_saw_them(
    write_run: Callable[..., Path], sideways: Path, tmp_path: Path, honour_exif: bool
) -> None:
    prepare(sideways, tmp_path / "store", size=SIZE, workers=1, honour_exif=honour_exif)
    store = Store(tmp_path / "store")
    run = write_run(tmp_path / "run", honour_exif=honour_exif)
    config = replace(load_config(run / "config.json"), honour_exif=not honour_exif)
    assert fit_to_store(config, store).honour_exif == honour_exif
    net, split = load(run, "cpu"), store.split("val")
    for i in range(len(split)):
        file = sideways / split.key(i)
        for image in (file, file.read_bytes(), Image.open(file)):
            assert np.array_equal(net.preprocess.pixels(image), split.image(i))
    from_store, from_files = (
        features(run, each, tmp_path / name, layer="fc7", split="val", device="cpu")
        for each, name in ((tmp_path / "store", "a.npy"), (sideways, "b.npy"))
    )
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")), (from_store, from_files)


def test_a_run_does_not_resume_on_images_that_are_turned_otherwise(own_run: Path) -> None:
    config = load_config(own_run / "config.json")
    check_run(own_run, config)
    with pytest.raises(ValueError, match="was started with honour_exif False and this is honour_exif True"):
        check_run(own_run, replace(config, honour_exif=True))


@pytest.mark.parametrize("shape", [(50, 50, 3), (60, 60), (60, 61, 3), (60, 60, 4)])
def test_a_mean_image_that_does_not_fit_is_named(own_run: Path, shape: tuple[int, ...]) -> None:
    np.save(own_run / "mean.npy", np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=r"is damaged: the mean image is float32 .*, not float32 \[size, size, 3\]"):
        load(own_run, "cpu")


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint16, bool])
def test_an_array_of_another_kind_is_refused(run: Path, dtype: type) -> None:
    preprocess = load(run, "cpu").preprocess
    for image in (np.zeros((60, 70, 3), dtype), torch.from_numpy(np.zeros((60, 70, 3), np.float32))):
        with pytest.raises(ValueError, match=r"give uint8 \[height, width, 3\]"):
            preprocess(image)


def test_views_of_other_images_and_in_other_numbers_are_refused(run: Path) -> None:
    preprocess = load(run, "cpu").preprocess
    images = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    assert preprocess.views(images, 10).shape[:3] == (2, 10, 3)
    for other in (images.float(), images[:, :50], images[..., :2], images[0], images.permute(0, 3, 1, 2)):
        with pytest.raises(ValueError, match=r"give uint8 \[images, 56, 56, 3\]"):
            preprocess.views(other, 1)
    with pytest.raises(ValueError, match="5 views: give 1 or 10"):
        preprocess.views(images, 5)


def test_a_grey_array_and_a_tensor_are_taken(run: Path) -> None:
    preprocess = load(run, "cpu").preprocess
    grey = np.random.default_rng(0).integers(0, 256, (400, 600), np.uint8)
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    for image in (grey, colours, torch.from_numpy(colours)):
        assert torch.equal(preprocess(image), preprocess(Image.fromarray(grey)))
