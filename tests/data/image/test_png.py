"""Of a PNG file the header, palette, transparency and pixels decide about the image, and nothing else does."""

import struct
import zlib

import numpy as np
import pytest
from made_files import PNG_SIGNATURE, png, png_chunk, png_header
from PIL import Image
from scenes import saved, scene

from alexnet.data.image.decode import decode


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_is_white_and_no_other(bits: int) -> None:
    most = (1 << bits) - 1
    samples = np.arange(min(most + 1, 256)).reshape(1, -1) * (257 if bits == 16 else 1)
    for clear in {0, 1, most // 2, most}:
        found = decode(png(samples, bits, png_chunk(b"tRNS", struct.pack(">H", clear))))
        expected = np.where(samples == clear, 255, np.rint(samples * 255 / most))
        assert np.array_equal(found, np.repeat(expected[..., None], 3, 2))


def test_of_two_greys_of_16_bits_with_the_same_upper_byte_one_is_transparent() -> None:
    found = decode(png(np.array([[0x1234, 0x1235]]), 16, png_chunk(b"tRNS", b"\x12\x34")))
    assert found[0, :, 0].tolist() == [255, round(0x1235 / 257)]


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_is_white_and_no_other(bits: int) -> None:
    factor = 257 if bits == 16 else 1
    samples = np.array([[[10, 20, 30], [10, 20, 31], [30, 20, 10]]])
    clear = png_chunk(b"tRNS", struct.pack(">3H", *samples[0, 0] * factor))
    assert decode(png(samples * factor, bits, clear)).tolist() == [[[255, 255, 255], [10, 20, 31], [30, 20, 10]]]


METADATA = {
    "profile, wrong checksum": png_chunk(b"iCCP", b"ICC\0\0" + zlib.compress(bytes(400)), 1),
    "profile, no profile": png_chunk(b"iCCP", b"ICC\0\0nonsense"),
    "text, wrong checksum": png_chunk(b"tEXt", b"Comment\0by hand", 1),
    "text, 2 MB": png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2_000_000))),
    "text, unknown compression": png_chunk(b"zTXt", b"workflow\0\x09" + zlib.compress(bytes(9))),
    "text, not UTF-8": png_chunk(b"iTXt", b"\xff\xfe\0\1\0\0\0\xff"),
    "text, 100,000 chunks": png_chunk(b"tEXt", b"Comment\0by hand") * 100_000,
    "resolution, short": png_chunk(b"pHYs", b"\0\0\1"),
    "time, empty": png_chunk(b"tIME", b""),
    "gamma, short": png_chunk(b"gAMA", b"\0"),
    "gamma, none": png_chunk(b"gAMA", bytes(4)),
    "colours, short": png_chunk(b"cHRM", b"\0"),
    "rendering intent, empty": png_chunk(b"sRGB", b""),
    "EXIF, nonsense": png_chunk(b"eXIf", b"nonsense"),
    "animation, short": png_chunk(b"acTL", b"\0"),
    "animation, too large": png_chunk(b"acTL", struct.pack(">II", 1, 0)) + png_chunk(b"fcTL", bytes(4) + b"\xff" * 22),
    "unknown": png_chunk(b"abCd", bytes(99)),
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", METADATA)
def test_metadata_never_decides(name: str, where: str) -> None:
    samples = scene(20, 30)
    assert np.array_equal(decode(png(samples, 8, **{where: METADATA[name]})), samples)


def test_pixels_in_many_chunks_are_the_same_image() -> None:
    plain = saved(scene(), "PNG")
    at = plain.index(b"IDAT") + 4
    pixels = plain[at : at + struct.unpack(">I", plain[at - 8 : at - 4])[0]]
    pieces = b"".join(png_chunk(b"IDAT", pixels[i : i + 7]) for i in range(0, len(pixels), 7))
    parted = plain[: at - 8] + png_chunk(b"IDAT", b"") * 100_000 + pieces + png_chunk(b"IEND", b"")
    assert np.array_equal(decode(parted), scene())


def test_an_animation_gives_its_default_image() -> None:
    first, second = (Image.fromarray(scene(seed=seed)) for seed in (0, 1))
    for default_image in (False, True):
        data = saved(first, "PNG", save_all=True, append_images=[second], default_image=default_image)
        assert np.array_equal(decode(data), scene())


IDAT = png_chunk(b"IDAT", zlib.compress(bytes(4)))
DAMAGED = {
    "its IDAT chunk does not match its checksum": png_header(1, 1, 8, 2) + png_chunk(b"IDAT", b"x", 1),
    "its IHDR chunk does not match its checksum": png_chunk(b"IHDR", bytes(13), 1) + IDAT,
    "truncated inside its IDAT chunk": png_header(1, 1, 8, 2) + IDAT[:-5],
    "it has no IDAT chunk": png_header(1, 1, 8, 2),
    "it has no IHDR chunk": IDAT,
}


@pytest.mark.parametrize("reason", DAMAGED)
def test_the_reason_says_what_is_damaged(reason: str) -> None:
    with pytest.raises(ValueError, match=f"^it cannot be decoded: {reason}$"):
        decode(PNG_SIGNATURE + DAMAGED[reason])
