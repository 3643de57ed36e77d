"""Images are turned as their EXIF data says where that is asked for, and only there."""

import io
import struct
import time
import warnings

import numpy as np
import pytest
from made_files import jpeg_segment
from PIL import Image, ImageOps
from scenes import saved, scene

from alexnet.data.image import formats
from alexnet.data.image.decode import decode, decode_scaled
from alexnet.data.image.resize import rescale

FORMATS = {"JPEG": {}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "AVIF": {}}
EVERY_FORMAT = pytest.mark.parametrize("file_format", [each for each in FORMATS if each in formats.FORMATS])


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@EVERY_FORMAT
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_ignored_unless_honoured(orientation: int, file_format: str) -> None:
    choices = ({}, {"exif": with_orientation(orientation)})
    plain, turned = (saved(scene(), file_format, **FORMATS[file_format], **options) for options in choices)
    if file_format != "TIFF":  # there it is a part of the format
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_jpeg_keeps_its_geometry_however_it_is_turned(orientation: int) -> None:
    photo = scene(517, 389)
    data = saved(photo, "JPEG", quality=95, subsampling=0, exif=with_orientation(orientation))
    pixels, extent = decode_scaled(data, 32, honour_exif=True)
    assert min(pixels.shape[:2]) < 389
    expected = rescale(decode(data, honour_exif=True), 32).astype(int)
    assert np.abs(rescale(pixels, 32, extent) - expected).mean() < 0.7
    shifted = rescale(pixels, 32)  # as if rows and columns that are only partly in the image were whole
    assert np.abs(shifted - expected).mean() > np.abs(rescale(pixels, 32, extent) - expected).mean()


def test_a_thousand_segments_cost_no_time() -> None:
    """Their directories overlap: together they claim thousands of times what is there."""
    entries = b"".join(struct.pack(">HHII", 0x9000 + i, 7, 60_000, 8) for i in range(5_000))
    directory = b"MM\0*\0\0\0\x08" + struct.pack(">H", 5_000) + entries
    segment = jpeg_segment(0xE1, b"Exif\0\0" + directory.ljust(65_527, b"\0"))
    plain = saved(scene(), "JPEG")
    cmyk = saved(Image.fromarray(scene()).convert("CMYK"), "JPEG")  # which Pillow decodes
    for data in (plain, cmyk):
        start = time.process_time()
        assert np.array_equal(decode(data[:2] + 1000 * segment + data[2:], honour_exif=True), decode(data))
        assert time.process_time() - start < 2
