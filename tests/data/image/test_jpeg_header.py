"""What a JPEG is, is known before it is decoded."""

import contextlib

import numpy as np
import pytest
import simplejpeg
from made_files import jpeg_frame, jpeg_of_many_scans, jpeg_segment, lossless_jpeg
from PIL import Image
from scenes import saved, scene

from alexnet.data.image import jpeg_header
from alexnet.data.image.decode import decode, decode_at_scale, decode_scaled, scale

KINDS = [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 1}, {"comment": b"\xff\xc0\xff\xda"}]


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_the_frame_is_the_one_that_is_decoded(mode: str, options: dict[str, object]) -> None:
    data = saved(Image.fromarray(scene()).convert(mode), "JPEG", **options)
    frame = jpeg_header.read_frame(memoryview(data))
    assert frame is not None
    assert (frame.precision, frame.height, frame.width) == (8, *simplejpeg.decode_jpeg_header(data)[:2])
    assert frame.marker == (0xC2 if options.get("progressive") else 0xC0)


@pytest.mark.parametrize("marker", [*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)])
@pytest.mark.parametrize("precision", [8, 12])
def test_only_baseline_sequential_and_progressive_frames_of_8_bits_are_scaled(marker: int, precision: int) -> None:
    frame = jpeg_header.read_frame(memoryview(b"\xff\xd8" + jpeg_frame(marker, 5, 7, 3, precision)))
    assert frame == (marker, precision, 5, 7, 3)
    assert frame is not None
    assert frame.can_be_scaled == (marker <= 0xC2 and precision == 8)


@pytest.mark.parametrize("shape", [(64, 80), (520, 600), (1000, 300)])
def test_lossless_jpeg_is_decoded_at_full_size(shape: tuple[int, int]) -> None:
    data = lossless_jpeg(*shape)
    frame = jpeg_header.read_frame(memoryview(data))
    assert frame is not None
    by_libjpeg_turbo = decode_at_scale(data, frame, scale(frame, 16))  # as `bench` measures it
    for found in (decode(data), decode_scaled(data, 16).pixels, by_libjpeg_turbo):
        assert found.shape == (*shape, 3)
        assert (found == 128).all()


@pytest.mark.parametrize("second", [(90, 120), (900, 1200), (9, 12)])
@pytest.mark.parametrize("marker", [0xC0, 0xC2, 0xC3])
def test_a_second_frame_header_gives_the_image_or_a_reason(marker: int, second: tuple[int, int]) -> None:
    data = saved(scene(), "JPEG")
    for at in (2, data.index(b"\xff\xda")):
        with contextlib.suppress(ValueError):
            assert decode_scaled(data[:at] + jpeg_frame(marker, *second, 3) + data[at:], 8).pixels.ndim == 3


def test_scans_are_counted_and_what_looks_like_one_is_not() -> None:
    plain = saved(scene(), "JPEG")
    progressive = saved(scene(), "JPEG", progressive=True)
    scans = progressive.count(b"\xff\xda")
    assert scans > 2
    hidden = saved(scene(), "JPEG", exif=b"Exif\0\0" + progressive) + progressive  # a thumbnail, and after the end
    for data, count in ((plain, 1), (progressive, scans), (hidden, 1), (jpeg_of_many_scans(1200, 1200, 77), 77)):
        assert jpeg_header.count_scans(memoryview(data), 1000) == count
    assert jpeg_header.count_scans(memoryview(progressive), 2) == 2


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_without_metadata_it_is_the_same_image(mode: str) -> None:
    image = Image.fromarray(scene()).convert(mode)
    plain = saved(image, "JPEG")
    odd = b"".join(jpeg_segment(marker, bytes(9)) for marker in (0xE1, 0xE2, 0xED, 0xEF, 0xFE))
    with_metadata = plain[:2] + odd + b"junk\0\xff\xff" + plain[2:]
    assert jpeg_header.without_metadata(memoryview(with_metadata)) == plain
    assert np.array_equal(decode(plain[:2] + odd + plain[2:]), decode(plain))


@pytest.mark.parametrize("end", range(2, 700, 7))
def test_a_cut_off_header_is_no_error(end: int) -> None:
    data = memoryview(saved(scene(), "JPEG", exif=b"Exif\0\0MM\0*")[:end])
    frame, exif = jpeg_header.read_frame(data), jpeg_header.exif(data)
    assert frame is None or frame.height == 90
    assert len(exif) <= 4
    assert jpeg_header.count_scans(data, 9) <= 1
    assert len(jpeg_header.without_metadata(data)) <= len(data)
