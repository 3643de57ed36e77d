"""Files of every format and kind are decoded as Pillow decodes them, and what is no whole image is refused."""

import contextlib
import io
import os
import struct
import sys

import numpy as np
import pytest
from made_files import PNG_SIGNATURE, jpeg_frame, png_chunk, png_header
from PIL import Image, features
from processes import python
from scenes import saved, scene

from alexnet.data.image import bounds, formats, rgb
from alexnet.data.image.decode import decode, decode_scaled
from alexnet.data.image.pillow import claimed_size


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


JPEG_START = b"\xff\xd8\xff"
NO_IMAGES = {
    "text": (b"not an image", "it is no JPEG, PNG, WebP, GIF, BMP, TIFF.* image"),
    "zeros": (bytes(1000), "it is no JPEG, PNG, WebP, GIF, BMP, TIFF.* image"),
    "JPEG start": (JPEG_START, "it is damaged JPEG: its header cannot be read"),
    "JPEG start and zeros": (JPEG_START + bytes(999), "it is damaged JPEG: its header cannot be read"),
    "PNG start": (b"\x89PNG\r\n\x1a\n", "it cannot be decoded: it has no IHDR chunk"),
    "PNG start and zeros": (b"\x89PNG\r\n\x1a\n" + bytes(99), "it cannot be decoded: it has no IHDR chunk"),
    "GIF start and zeros": (b"GIF89a" + bytes(9), "it is damaged GIF: its header cannot be read"),
    "WebP start": (b"RIFF\0\0\0\0WEBPVP8 ", "it cannot be decoded: could not create decoder object"),
    "BMP start": (b"BM" + bytes(9), "it is damaged BMP: its header cannot be read"),
    "TIFF start": (b"II*\0" + bytes(9), "it is damaged TIFF: its header cannot be read"),
}


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_refused_with_a_reason(name: str) -> None:
    data, reason = NO_IMAGES[name]
    with pytest.raises(ValueError, match=reason):
        decode(data)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (jpeg_frame(0xC1, 60, 80, 3, precision=12), "JPEG with 12 bits per sample"),
        (jpeg_frame(0xC5, 60, 80, 3), "hierarchical JPEG"),
        (jpeg_frame(0xCB, 60, 80, 3), "lossless JPEG with arithmetic coding"),
        (jpeg_frame(0xF7, 60, 80, 3), "JPEG-LS"),
    ],
)
def test_a_jpeg_of_a_kind_that_no_decoder_knows_is_named_and_not_called_damaged(frame: bytes, kind: str) -> None:
    whole = saved(scene(60, 80), "JPEG")
    at = whole.index(b"\xff\xc0")
    with pytest.raises(ValueError, match=f"^it is {kind}, which cannot be decoded here: save it as PNG$"):
        decode(whole[:at] + frame + whole[at + len(frame) :])


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
    png = PNG_SIGNATURE + png_header(100_000, 100_000, 8, 2) + png_chunk(b"IDAT", b"")
    jpeg = claiming(saved(scene(), "JPEG"), 60_000, 60_000)
    for data, message in ((png, "exceeds limit of"), (jpeg, "it claims 60000x60000 pixels")):
        with pytest.raises(ValueError, match=message):
            decode_scaled(data, 256)


@pytest.mark.parametrize("form", ["CMYK", *(each for each in formats.FORMATS if each != "WEBP")])
def test_the_memory_bound_holds_for_every_format(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    image = Image.fromarray(scene()).convert("CMYK" if form == "CMYK" else "RGB")
    data, width, height = saved(image, "JPEG" if form == "CMYK" else form), *image.size
    need = height * width * {"JPEG": 9, "CMYK": 12, "TIFF": 12, "AVIF": 16}.get(form, 8)
    monkeypatch.setattr(bounds, "MAX_MEMORY", need)
    assert decode(data).shape == (height, width, 3)
    monkeypatch.setattr(bounds, "MAX_MEMORY", need - 1)
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
    monkeypatch.setattr(rgb, "BAND_PIXELS", 1000)  # eight rows
    for data, expected in zip(files, whole, strict=True):
        assert np.array_equal(decode(data), expected)


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"save_all": True, "append_images": [Image.new("RGB", (70, 50))]}]
)
def test_a_webp_that_claims_too_many_pixels_is_refused_before_pillow_opens_it(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(scene(50, 70), "WEBP", **options)
    assert decode(data).shape == (50, 70, 3)
    monkeypatch.setattr(bounds, "MAX_MEMORY", 50 * 70 * 16)
    assert decode(data).shape == (50, 70, 3)
    monkeypatch.setattr(bounds, "MAX_MEMORY", 50 * 70 * 16 - 1)
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


OTHER_FORMATS = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "BigTIFF": b"II+\0\x08\0\0\0",
    "Photoshop": b"8BPS\0\1",
    "PDF": b"%PDF-1.7",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_a_format_that_is_not_decoded_is_named_with_the_way_out(name: str) -> None:
    with pytest.raises(ValueError, match=f"^it is {name}, which cannot be decoded here: save it as PNG or JPEG$"):
        decode(OTHER_FORMATS[name] + bytes(99))


@pytest.mark.parametrize("brand", [b"avif", b"mif1"])
def test_avif_is_decoded_where_pillow_can(brand: bytes) -> None:
    if not features.check("avif"):
        with pytest.raises(ValueError, match=r"^it is AVIF, which cannot be decoded here"):
            decode(b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0avifmif1" + bytes(99))
        return
    data = bytearray(saved(scene(), "AVIF", quality=100, subsampling="4:4:4"))
    assert np.abs(decode(data).astype(int) - scene()).mean() < 2
    data[8:12] = brand  # the brand avif is still among the others
    assert decode(data).shape == (90, 120, 3)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1"])
def test_tiff_is_decoded_as_pillow_decodes_it(mode: str, compression: str) -> None:
    image = Image.fromarray(scene()).convert(mode)
    if compression == "jpeg" and mode in ("P", "1", "RGBA"):
        return
    data = saved(image, "TIFF", compression=compression)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(decode(data), np.asarray(expected))


def tiff(entries: dict[int, int]) -> bytes:
    """A TIFF file with these entries, numbers of 32 bits, and no pixels."""
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in sorted(entries.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listed + bytes(99)


WIDTH, HEIGHT, BITS, COMPRESSION, STRIP, ROWS, TILE_WIDTH, TILE_HEIGHT = 256, 257, 258, 259, 273, 278, 322, 323
COSTLY_TIFFS = {
    "it claims 12000x12000 pixels": {WIDTH: 12_000, HEIGHT: 12_000, BITS: 8, STRIP: 8, ROWS: 1},
    "it claims strips or tiles of 1,073,741,824 pixels": {WIDTH: 1 << 15, HEIGHT: 1 << 15, BITS: 8, STRIP: 8},
    "it claims strips or tiles of 4,294,967,296 pixels": {TILE_WIDTH: 1 << 16, TILE_HEIGHT: 1 << 16},
    "its compression, number 50000, is not decoded: save it as PNG": {WIDTH: 9, HEIGHT: 9, COMPRESSION: 50000},
}


@pytest.mark.parametrize("reason", COSTLY_TIFFS)
def test_a_tiff_that_would_cost_much_is_refused_before_it_is_decoded(reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(tiff(COSTLY_TIFFS[reason]))


def test_a_tiff_whose_directory_claims_more_than_the_file_holds_is_refused() -> None:
    listed = b"".join(struct.pack("<HHII", tag, 1, 1 << 20, 8) for tag in range(60_000, 60_500))
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 500) + listed + bytes(1 << 20)
    with pytest.raises(ValueError, match="its directory claims more than the file holds"):
        decode(data)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_size_that_a_header_claims_is_known_without_decoding(name: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, name)
    assert claimed_size(file.getvalue()) == (30, 20)
    with pytest.raises(ValueError, match="it is no JPEG"):
        claimed_size(b"\0" * 100)


SHORT_OF_MEMORY = """
import io, resource, sys
from pathlib import Path
from PIL import Image
from alexnet.data.image.decode import decode
from alexnet.data.image.square import square
def said(file_format, read):
    data = io.BytesIO()
    Image.new("L", (5000, 5000)).save(data, file_format)
    decode(data.getvalue())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (8 << 20), hard))
    try:
        read(data)
        return "read"
    except Exception as error:
        return type(error).__name__
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
for file_format in ("PNG", "BMP", "TIFF", "GIF"):
    print(said(file_format, lambda data: decode(data.getvalue())))
    print(said(file_format, lambda data: square(Image.open(data), 32)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer reserves terabytes of addresses")
def test_for_want_of_memory_no_image_is_called_damaged() -> None:
    assert set(python("-c", SHORT_OF_MEMORY).split()) == {"MemoryError"}
