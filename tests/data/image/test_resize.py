"""Decoding judged by content, the central square, and what is refused."""

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from alexnet.data.image import resize
from alexnet.data.image.resize import decode, decode_stored, encode, rescale


def scene(height: int = 90, width: int = 120, seed: int = 0) -> np.ndarray:
    """A smooth coloured image with no symmetry."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def written(image: Image.Image | np.ndarray, file_format: str, **options: object) -> bytes:
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    opened.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def claiming(data: bytes, height: int, width: int) -> bytes:
    """A JPEG whose header gives another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}}


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_lossless_formats_come_back_as_they_were(file_format: str) -> None:
    image = scene()
    assert np.array_equal(decode(written(image, file_format, **LOSSLESS[file_format])), image)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_is_what_pillow_sees(mode: str, options: dict[str, object]) -> None:
    data = written(Image.fromarray(scene()).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    found = decode(data)
    assert found.shape == (90, 120, 3)
    # Two builds of libjpeg-turbo may round differently; only Pillow is trusted with CMYK.
    assert np.abs(found.astype(int) - expected).max() <= (0 if mode == "CMYK" else 2)


def test_palette_images_and_the_first_frame_of_an_animation() -> None:
    first, second = (Image.fromarray(scene(seed=seed)).quantize(32) for seed in (0, 1))
    expected = np.asarray(first.convert("RGB"))
    assert np.array_equal(decode(written(first, "PNG")), expected)
    animation = written(first, "GIF", save_all=True, append_images=[second])
    assert np.array_equal(decode(animation), expected)


def test_transparent_pixels_show_white_and_opaque_ones_their_colour() -> None:
    image = np.dstack([scene(), np.full((90, 120), 255, np.uint8)])
    image[:40, :, 3] = 0
    found = decode(written(image, "PNG"))
    assert (found[:40] == 255).all()
    assert np.array_equal(found[40:], image[40:, :, :3])


def test_sixteen_bits_keep_their_shades() -> None:
    shades = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    found = decode(written(Image.fromarray(shades), "PNG"))
    assert np.array_equal(found[..., 0].ravel(), np.arange(256))
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.97])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {})],
)
def test_a_truncated_file_is_refused(file_format: str, options: dict[str, object], kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    data = written(noise, file_format, **options)
    decode(data)
    with pytest.raises(ValueError, match=r"it cannot be decoded: ."):
        decode(data[: int(len(data) * kept)])


def test_a_jpeg_with_bytes_after_its_end_is_fine() -> None:
    data = written(scene(), "JPEG")
    assert np.array_equal(decode(data + bytes(1000)), decode(data))


@pytest.mark.parametrize(
    "data",
    [b"not an image", bytes(1000), b"\xff\xd8\xff", b"\xff\xd8\xff" + bytes(999), b"GIF89a" + bytes(9)],
    ids=["text", "zeros", "JPEG start", "JPEG start and zeros", "GIF start and zeros"],
)
def test_what_is_no_image_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is no JPEG, PNG, WebP, GIF or BMP image"):
        decode(data)


def test_an_empty_file_is_called_that() -> None:
    with pytest.raises(ValueError, match="the file is empty"):
        decode(b"")


def test_damaged_bytes_give_an_image_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    whole = [written(scene(30, 40), file_format) for file_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]
    refused = 0
    for data in whole * 40:
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            damaged[at] = rng.integers(256)
        try:
            image = decode(bytes(damaged))
        except ValueError:
            refused += 1
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
    assert 0 < refused < 200


def test_a_huge_image_is_refused_before_it_is_decoded() -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    jpeg = claiming(written(scene(), "JPEG"), 60_000, 60_000)
    for data, message in ((png, "exceeds limit of"), (jpeg, "it claims 60000x60000 pixels")):
        with pytest.raises(ValueError, match=message):
            decode(data, 256)


@pytest.mark.parametrize("form", ["JPEG", "CMYK", "PNG", "GIF", "BMP"])
def test_the_bound_holds_for_every_format(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    image = Image.fromarray(scene()).convert("CMYK" if form == "CMYK" else "RGB")
    data, width, height = written(image, "JPEG" if form == "CMYK" else form), *image.size
    need = height * width * {"JPEG": 9, "CMYK": 12}.get(form, 8)
    monkeypatch.setattr(resize, "MOST_MEMORY", need)
    assert decode(data).shape == (height, width, 3)
    monkeypatch.setattr(resize, "MOST_MEMORY", need - 1)
    monkeypatch.setattr(Image.Image, "load", None)  # nothing is decoded to find out
    with pytest.raises(
        ValueError, match=f"^it claims {width}x{height} pixels, more than the [0-9,]+ that are decoded$"
    ):
        decode(data)


def test_a_large_image_converted_by_bands_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = np.dstack([scene(), scene(seed=1)[..., :1]])
    palette = Image.fromarray(scene()).quantize(32)
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (90, 120), dtype=np.uint16))
    files = [written(each, "PNG") for each in (scene(), clear, deep)]
    files += [
        written(palette, "PNG", transparency=3),
        written(palette, "GIF"),
        written(Image.fromarray(scene()), "BMP"),
    ]
    files.append(written(Image.fromarray(scene()).convert("CMYK"), "JPEG"))
    whole = [decode(data) for data in files]
    monkeypatch.setattr("alexnet.data.image.resize.BAND", 1000)  # eight rows
    for data, expected in zip(files, whole, strict=True):
        assert np.array_equal(decode(data), expected)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_ignored_unless_honoured(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = (written(scene(), file_format, **options) for options in ({}, {"exif": exif}))
    assert np.array_equal(decode(turned), decode(plain))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(turned)))
    assert np.array_equal(decode(turned, honour_exif=True), np.asarray(expected))


NONSENSE = {
    "of another kind": b"XXXXXXXXXXXX",
    "cut off": b"MM",
    "beyond the end": b"II*\0\xff\xff\xff\x7f",
    "endless": b"MM\0*\0\0\0\x08\xff\xff" + bytes(range(40)),
    "text": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0\0\0\0\0",
    "six by nothing": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\0\0\0\x1a" + bytes(7) + b"\6" + bytes(4),
    "nine": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_an_orientation_that_makes_no_sense_means_upright(nonsense: str) -> None:
    data = written(scene(), "JPEG", exif=b"Exif\0\0" + NONSENSE[nonsense])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(decode(data, honour_exif=True), decode(data))


@pytest.mark.parametrize("shape", [(800, 1000), (1000, 800), (199, 200), (201, 200), (2000, 1600)])
def test_scaled_decoding_leaves_the_size_and_changes_next_to_nothing(shape: tuple[int, int]) -> None:
    data = written(scene(*shape), "JPEG", quality=95)
    whole, scaled = decode(data), decode(data, 100)
    assert 100 <= min(scaled.shape[:2]) <= 200
    assert (scaled.shape == whole.shape) == (min(shape) < 200)
    difference = rescale(whole, 100).astype(float) - rescale(scaled, 100)
    assert np.abs(difference).mean() < 1


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (80, 80), (32, 256)])
def test_the_square_is_the_centre_of_the_whole_rescaled_image(shape: tuple[int, int]) -> None:
    image = scene(*shape)
    height, width = (side * 16 // min(shape) for side in shape)
    # In two steps: Pillow 13 begins with the columns of some images, and rounds differently between.
    narrow = Image.fromarray(image).resize((width, len(image)), Image.Resampling.BICUBIC)
    whole = np.asarray(narrow.resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - 16) // 2, (width - 16) // 2
    assert np.array_equal(rescale(image, 16), whole[top : top + 16, left : left + 16])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 700), (31, 33), (256, 257)])
def test_any_shape_becomes_the_square_and_one_colour_stays_one(shape: tuple[int, int]) -> None:
    colour = np.array([10, 200, 90], np.uint8)
    found = rescale(np.broadcast_to(colour, (*shape, 3)), 32)
    assert found.shape == (32, 32, 3)
    assert (found == colour).all()


def test_the_right_size_is_left_alone() -> None:
    image = scene(40, 40)
    assert np.array_equal(rescale(image, 40), image)


@pytest.mark.parametrize(("size", "start"), [(127, b"\x89PNG"), (128, b"\xff\xd8"), (200, b"\xff\xd8")])
def test_small_images_are_stored_lossless_and_large_ones_as_jpeg(size: int, start: bytes) -> None:
    image = scene(size, size)
    data = encode(image)
    assert data.startswith(start)
    again = decode_stored(memoryview(data))
    assert np.array_equal(again, np.asarray(Image.open(io.BytesIO(data))))
    error = np.abs(again.astype(float) - image).mean()
    assert error == 0 if size < 128 else error < 2


def test_a_lower_quality_is_shorter() -> None:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert len(encode(image, 50)) < len(encode(image, 95)) < len(encode(image, 100))


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("RGB", (70, 50))]}]
)
def test_a_webp_that_claims_too_much_is_refused_before_memory_is_taken(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = written(scene(50, 70), "WEBP", **options)
    assert decode(data).shape == (50, 70, 3)
    monkeypatch.setattr(resize, "MOST_MEMORY", 50 * 70 * 16)
    assert decode(data).shape == (50, 70, 3)
    monkeypatch.setattr(resize, "MOST_MEMORY", 50 * 70 * 16 - 1)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match="it claims 70x50 pixels, more than the 3,499 that are decoded"):
        decode(data)


def test_a_jpeg_with_a_strange_subsampling_is_a_sentence_or_an_image() -> None:
    data = bytearray(written(scene(64, 64), "JPEG"))
    at = data.index(b"\xff\xc0")  # the frame: length, precision, height, width, components, and (id, sampling, table)
    for sampling in range(256):
        data[at + 11] = sampling
        with contextlib.suppress(ValueError):
            assert decode(bytes(data)).shape == (64, 64, 3)
