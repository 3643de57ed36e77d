"""A small file costs little, whatever it claims: at each bound it is decoded, and beyond it refused at once."""

import contextlib
import re
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from made_files import PNG_SIGNATURE, jpeg_frame, jpeg_of_many_scans, jpeg_segment, png, png_chunk, png_header
from PIL import Image
from scenes import saved, scene

from alexnet.data.image import bounds
from alexnet.data.image.decode import decode, decode_scaled
from alexnet.data.image.encode import decode_stored, encode

QUICK = 1.0  # seconds of a processor; decoding what these files claim would take ten and more
LITTLE = 16 << 20  # bytes


def refused(read: Callable[[], object], reason: str) -> None:
    """`read` refuses its file for this reason, without taking time or memory."""
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ValueError, match=reason):
        read()
    assert time.process_time() - start < QUICK
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < LITTLE


@pytest.mark.parametrize(("height", "width"), [(134_217_727, 1), (1, 134_217_727), (65_536, 1), (1, 65_536)])
def test_a_side_that_is_too_long_is_refused(height: int, width: int) -> None:
    data = PNG_SIGNATURE + png_header(height, width, 8, 2) + png_chunk(b"IDAT", b"")
    refused(lambda: decode(data), f"it claims {width}x{height} pixels, and no side may be longer than 65,535")


@pytest.mark.parametrize("shape", [(65_535, 1), (1, 65_535)])
def test_the_longest_side_is_decoded(shape: tuple[int, int]) -> None:
    samples = np.arange(65_535).reshape(shape) % 256
    assert np.array_equal(decode(png(samples, 8))[:, :, 1], samples)


def test_many_scans_of_many_pixels_are_refused() -> None:
    data = jpeg_of_many_scans(10_900, 10_900, 256)
    refused(
        lambda: decode(data), "it has more than 11 scans of 10900x10900 pixels, which would take too long to decode"
    )
    refused(lambda: decode_scaled(data, 256), "it has more than 11 scans")


def test_as_many_scans_as_are_allowed_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    for scans in (1, 2, 70):
        data = jpeg_of_many_scans(200, 168, scans)
        monkeypatch.setattr("alexnet.data.image.jpeg_header.MAX_SCAN_PIXELS", 200 * 168 * scans)
        assert (decode(data) == 128).all()
        assert (decode_scaled(data, 20).pixels == 128).all()
        monkeypatch.setattr("alexnet.data.image.jpeg_header.MAX_SCAN_PIXELS", 200 * 168 * scans - 1)
        with pytest.raises(ValueError, match=f"^it has more than {scans - 1} scans of 168x200 pixels"):
            decode(data)


def test_more_scans_after_one_of_all_components_cost_nothing() -> None:
    data = saved(scene(2000, 2000), "JPEG", quality=30)
    scan = data[data.index(b"\xff\xda") : -2]
    start = time.process_time()
    with contextlib.suppress(ValueError):
        assert decode(data[:-2] + 300 * scan + b"\xff\xd9").shape == (2000, 2000, 3)
    assert time.process_time() - start < 5  # all of them would take 20


@pytest.mark.parametrize("components", [1, 2])
def test_scans_of_some_components_are_counted(components: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = b"".join(bytes([i + 1, 0]) for i in range(components))
    scan = jpeg_segment(0xDA, bytes([components]) + listed + bytes([0, 63, 0])) + bytes(9)
    data = b"\xff\xd8" + jpeg_frame(0xC0, 64, 64, 3) + 70 * scan + b"\xff\xd9"
    monkeypatch.setattr("alexnet.data.image.jpeg_header.MAX_SCAN_PIXELS", 64 * 64 * 69)
    with pytest.raises(ValueError, match=r"^it has more than 69 scans of 64x64 pixels"):
        decode(data)


def test_ten_scans_as_is_usual_for_progressive_jpeg_are_allowed_at_the_largest_size() -> None:
    assert bounds.MAX_SCAN_PIXELS // 10 > bounds.MAX_MEMORY // 9


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP"])
def test_a_stored_image_of_another_size_is_refused_before_it_is_decoded(file_format: str) -> None:
    data = saved(Image.new("RGB", (4000, 4000)), file_format)
    refused(lambda: decode_stored(data, 144), "^it is 4000x4000 and not 144x144$")
    assert decode_stored(
        encode(scene(96, 96)) if file_format == "BMP" else saved(scene(96, 96), file_format), 96
    ).shape == (96, 96, 3)


def test_a_stored_image_of_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.image.jpeg_header.MAX_SCAN_PIXELS", 144 * 144 * 69)
    with pytest.raises(ValueError, match=r"^it has more than 69 scans of 144x144 pixels"):
        decode_stored(jpeg_of_many_scans(144, 144, 70), 144)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP"])
def test_what_is_neither_jpeg_nor_png_nor_bmp_is_no_stored_image(file_format: str) -> None:
    with pytest.raises(ValueError, match=r"^it is neither JPEG nor PNG nor BMP$"):
        decode_stored(saved(scene(16, 16), file_format), 16)


def test_bounds_are_named_in_numbers() -> None:
    with pytest.raises(ValueError, match=re.escape("more than the 134,217,728 that are decoded")):
        bounds.check_size(65_535, 65_535, 8)
