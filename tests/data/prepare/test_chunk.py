"""The sums behind mean and covariance are exact, however the images were dealt out."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.image.decode import decode
from alexnet.data.image.encode import decode_stored, encode
from alexnet.data.image.resize import rescale
from alexnet.data.prepare.chunk import Form, prepare_chunk
from alexnet.data.sources.source import FileAt, LabelledImage
from alexnet.data.store.statistics import MOST_IN_16_BITS, Sums


def noise(count: int, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def sums_of(images: np.ndarray) -> Sums:
    sums = Sums.none(images.shape[1])
    for image in images:
        sums.add_image(image)
    return sums


def test_sums_are_those_of_whole_numbers() -> None:
    images = noise(20)
    sums = sums_of(images)
    wide = images.astype(np.int64)
    assert sums.images == 20
    assert np.array_equal(sums.values, wide.sum(axis=0))
    assert np.array_equal(sums.products, np.einsum("nhwa,nhwb->ab", wide, wide))


@pytest.mark.parametrize(("count", "size"), [(600, 5), (1, 256), (2, 17), (3, 16)])
@pytest.mark.parametrize("grey", [255, 254])
def test_sums_hold_for_the_brightest_images(count: int, size: int, grey: int) -> None:
    images = np.full((count, size, size, 3), grey, np.uint8)
    images[-1, -1, -1] = (1, 2, 3)
    sums = Sums.none(size)
    for first in range(0, count, MOST_IN_16_BITS):
        few = Sums.few(size)
        for image in images[first : first + MOST_IN_16_BITS]:
            few.add_image(image)
        sums.add(few)
    wide = images.reshape(-1, 3).astype(np.int64)
    assert sums.images == sums_of(images).images == count
    assert np.array_equal(sums.values, sums_of(images).values)
    assert np.array_equal(sums.values, images.sum(axis=0, dtype=np.int64))
    assert np.array_equal(sums.products, wide.T @ wide)


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_sums_do_not_depend_on_how_images_were_dealt_out(parts: int) -> None:
    images = noise(20)
    whole, total = sums_of(images), Sums.none(12)
    for part in np.array_split(images[::-1], parts):
        total.add(sums_of(part))
    assert np.array_equal(total.mean(), whole.mean())
    assert np.array_equal(total.covariance(), whole.covariance())


def test_mean_and_covariance_are_numpys() -> None:
    images = noise(20)
    sums = sums_of(images)
    assert np.array_equal(sums.mean(), images.mean(axis=0, dtype=np.float64).astype(np.float32))
    np.testing.assert_allclose(sums.covariance(), np.cov(images.reshape(-1, 3).T, bias=True), rtol=1e-13)


def test_covariance_holds_for_more_images_than_64_bits_can_square() -> None:
    few = sums_of(np.full((1, 12, 12, 3), 251, np.uint8) - noise(1) // 128)
    times = 10**10
    many = Sums(few.images * times, few.values * times, few.products * times)
    assert np.array_equal(many.covariance(), few.covariance())


def test_a_chunk_keeps_its_order_and_lists_what_is_bad(tmp_path: Path) -> None:
    content = [Image.fromarray(np.roll(noise(1, 40)[0], shift, axis=1)[:, :30]) for shift in range(4)]
    images = []
    for number, image in enumerate(content):
        file = io.BytesIO()
        image.save(file, "PNG")
        path = tmp_path / f"{number}.png"
        path.write_bytes(file.getvalue()[: 200 if number == 2 else None])
        images.append(LabelledImage(f"key {number}", number + 5, FileAt(str(path))))
    images.append(LabelledImage("gone", 1, FileAt(str(tmp_path / "gone.png"))))
    rows, bad, sums = prepare_chunk(images, Form(size=20), True)
    assert [(row.key, row.label) for row in rows] == [("key 0", 5), ("key 1", 6), ("key 3", 8)]
    assert [each.key for each in bad] == ["key 2", "gone"]
    assert all(each.reason for each in bad)
    stored = [encode(rescale(np.asarray(content[number]), 20)) for number in (0, 1, 3)]
    assert [row.image for row in rows] == stored
    assert sums is not None
    assert np.array_equal(sums.values, sum(decode_stored(image).astype(int) for image in stored))
    assert prepare_chunk(images, Form(size=20), False) == (rows, bad, None)


def test_the_form_decides_size_quality_and_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "turned.jpg"
    Image.fromarray(noise(1, 200)[0][:, :150]).save(file, exif=exif)
    image = [LabelledImage("turned", 0, FileAt(str(file)))]
    for form in (Form(130), Form(140, 50), Form(130, 95, True)):
        stored = prepare_chunk(image, form, False).rows[0].image
        expected = rescale(decode(file.read_bytes(), honour_exif=form.honour_exif), form.size)
        assert stored == encode(expected, form.quality)
