"""Files of every format and kind are decoded as Pillow decodes them, and what is no whole image is refused."""

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from scenes import saved, scene

from alexnet.data.image import decode as decoding
from alexnet.data.image.decode import decode
from alexnet.data.image.resize import rescale


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def claiming(data: bytes, height: int, width: int) -> bytes:
    """The JPEG `data` with another size in its header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}}


@pytest.mark.parametrize("file_format", LOSSLESS)
def test_lossless_formats_are_decoded_exactly(file_format: str) -> None:
    image = scene()
    assert np.array_equal(decode(saved(image, file_format, **LOSSLESS[file_format])), image)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_equals_pillows(mode: str, options: dict[str, object]) -> None:
    data = saved(Image.fromarray(scene()).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    found = decode(data)
    assert found.shape == (90, 120, 3)
    # Two builds of libjpeg-turbo may round differently; only Pillow is trusted with CMYK.
    assert np.abs(found.astype(int) - expected).max() <= (0 if mode == "CMYK" else 2)


def test_palettes_become_rgb_and_an_animation_gives_its_first_frame() -> None:
    first, second = (Image.fromarray(scene(seed=seed)).quantize(32) for seed in (0, 1))
    expected = np.asarray(first.convert("RGB"))
    assert np.array_equal(decode(saved(first, "PNG")), expected)
    animation = saved(first, "GIF", save_all=True, append_images=[second])
    assert np.array_equal(decode(animation), expected)


def test_transparent_pixels_become_white_and_opaque_ones_keep_their_colour() -> None:
    image = np.dstack([scene(), np.full((90, 120), 255, np.uint8)])
    image[:40, :, 3] = 0
    found = decode(saved(image, "PNG"))
    assert (found[:40] == 255).all()
    assert np.array_equal(found[40:], image[40:, :, :3])


def test_sixteen_bit_grey_is_scaled_to_eight() -> None:
    shades = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    found = decode(saved(Image.fromarray(shades), "PNG"))
    assert np.array_equal(found[..., 0].ravel(), np.arange(256))
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.97])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {})],
)
def test_a_truncated_file_is_refused(file_format: str, options: dict[str, object], kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    data = saved(noise, file_format, **options)
    decode(data)
    with pytest.raises(ValueError, match=r"it cannot be decoded: ."):
        decode(data[: int(len(data) * kept)])


def test_bytes_after_the_end_of_a_jpeg_are_ignored() -> None:
    data = saved(scene(), "JPEG")
    assert np.array_equal(decode(data + bytes(1000)), decode(data))


@pytest.mark.parametrize(
    "data",
    [b"not an image", bytes(1000), b"\xff\xd8\xff", b"\xff\xd8\xff" + bytes(999), b"GIF89a" + bytes(9)],
    ids=["text", "zeros", "JPEG start", "JPEG start and zeros", "GIF start and zeros"],
)
def test_what_is_no_image_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is no JPEG, PNG, WebP, GIF or BMP image"):
        decode(data)


def test_an_empty_file_is_refused_as_empty() -> None:
    with pytest.raises(ValueError, match="the file is empty"):
        decode(b"")


def test_damaged_bytes_give_an_image_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    whole = [saved(scene(30, 40), file_format) for file_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]
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
    png = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )
    jpeg = claiming(saved(scene(), "JPEG"), 60_000, 60_000)
    for data, message in ((png, "exceeds limit of"), (jpeg, "it claims 60000x60000 pixels")):
        with pytest.raises(ValueError, match=message):
            decode(data, 256)


@pytest.mark.parametrize("form", ["JPEG", "CMYK", "PNG", "GIF", "BMP"])
def test_the_memory_bound_holds_for_every_format(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    image = Image.fromarray(scene()).convert("CMYK" if form == "CMYK" else "RGB")
    data, width, height = saved(image, "JPEG" if form == "CMYK" else form), *image.size
    need = height * width * {"JPEG": 9, "CMYK": 12}.get(form, 8)
    monkeypatch.setattr(decoding, "MAX_MEMORY", need)
    assert decode(data).shape == (height, width, 3)
    monkeypatch.setattr(decoding, "MAX_MEMORY", need - 1)
    monkeypatch.setattr(Image.Image, "load", None)  # nothing is decoded to find out
    with pytest.raises(
        ValueError, match=f"^it claims {width}x{height} pixels, more than the [0-9,]+ that are decoded$"
    ):
        decode(data)


def test_conversion_in_bands_equals_conversion_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = np.dstack([scene(), scene(seed=1)[..., :1]])
    palette = Image.fromarray(scene()).quantize(32)
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (90, 120), dtype=np.uint16))
    files = [saved(each, "PNG") for each in (scene(), clear, deep)]
    files += [
        saved(palette, "PNG", transparency=3),
        saved(palette, "GIF"),
        saved(Image.fromarray(scene()), "BMP"),
    ]
    files.append(saved(Image.fromarray(scene()).convert("CMYK"), "JPEG"))
    whole = [decode(data) for data in files]
    monkeypatch.setattr(decoding, "BAND_PIXELS", 1000)  # eight rows
    for data, expected in zip(files, whole, strict=True):
        assert np.array_equal(decode(data), expected)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_ignored_unless_honoured(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = (saved(scene(), file_format, **options) for options in ({}, {"exif": exif}))
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
def test_an_invalid_orientation_means_upright(nonsense: str) -> None:
    data = saved(scene(), "JPEG", exif=b"Exif\0\0" + NONSENSE[nonsense])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(decode(data, honour_exif=True), decode(data))


@pytest.mark.parametrize("shape", [(800, 1000), (1000, 800), (199, 200), (201, 200), (2000, 1600)])
def test_scaled_decoding_is_large_enough_and_rescales_to_nearly_the_same_image(shape: tuple[int, int]) -> None:
    data = saved(scene(*shape), "JPEG", quality=95)
    whole, scaled = decode(data), decode(data, 100)
    assert 100 <= min(scaled.shape[:2]) <= 200
    assert (scaled.shape == whole.shape) == (min(shape) < 200)
    difference = rescale(whole, 100).astype(float) - rescale(scaled, 100)
    assert np.abs(difference).mean() < 1


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("RGB", (70, 50))]}]
)
def test_a_webp_that_claims_too_many_pixels_is_refused_before_pillow_opens_it(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(scene(50, 70), "WEBP", **options)
    assert decode(data).shape == (50, 70, 3)
    monkeypatch.setattr(decoding, "MAX_MEMORY", 50 * 70 * 16)
    assert decode(data).shape == (50, 70, 3)
    monkeypatch.setattr(decoding, "MAX_MEMORY", 50 * 70 * 16 - 1)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match="it claims 70x50 pixels, more than the 3,499 that are decoded"):
        decode(data)


def test_any_sampling_factors_give_an_image_or_a_reason() -> None:
    data = bytearray(saved(scene(64, 64), "JPEG"))
    at = data.index(b"\xff\xc0")  # the frame: length, precision, height, width, components, and (id, sampling, table)
    for sampling in range(256):
        data[at + 11] = sampling
        with contextlib.suppress(ValueError):
            assert decode(bytes(data)).shape == (64, 64, 3)
