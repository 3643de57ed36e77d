"""One image is one input, however it is given; what is no image is refused with a sentence."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from made_files import png, png_chunk
from PIL import Image
from scenes import saved, scene

from alexnet.data.image.decode import decode
from alexnet.data.image.resize import rescale
from alexnet.data.image.square import square

SIZE = 24


def images() -> dict[str, bytes]:
    """A file of every kind of pixels that Pillow opens."""
    colours, grey = Image.fromarray(scene()), Image.fromarray(scene()).convert("L")
    alpha = Image.fromarray(scene(seed=1)).convert("L")
    clear, grey_clear = colours.copy(), Image.merge("LA", (grey, alpha))
    clear.putalpha(alpha)
    deep = np.asarray(grey).astype(np.uint16) * 257 + 100
    few = np.asarray(grey) >> 6
    colours_deep = scene().astype(np.uint16) * 257 + 100
    return {
        "colours": saved(colours, "PNG"),
        "grey": saved(grey, "PNG"),
        "black and white": saved(grey.convert("1"), "PNG"),
        "alpha": saved(clear, "PNG"),
        "grey and alpha": saved(grey_clear, "PNG"),
        "palette": saved(colours.quantize(32), "PNG"),
        "palette, one clear": saved(colours.quantize(32), "PNG", transparency=3),
        "palette, half clear": saved(colours.quantize(32), "PNG", transparency=bytes(range(0, 256, 8))),
        "16 bits": saved(Image.fromarray(deep), "PNG"),
        "2 bits, one clear": png(few, 2, png_chunk(b"tRNS", b"\0\2")),
        "4 bits, one clear": png(np.asarray(grey) >> 4, 4, png_chunk(b"tRNS", b"\0\3")),
        "16 bits, one clear": png(deep, 16, png_chunk(b"tRNS", int(deep[3, 3]).to_bytes(2, "big"))),
        "colours, one clear": png(scene(), 8, png_chunk(b"tRNS", b"".join(bytes([0, v]) for v in scene()[3, 3]))),
        "colours of 16 bits, one clear": png(
            colours_deep, 16, png_chunk(b"tRNS", colours_deep[3, 3].astype(">u2").tobytes())
        ),
        "CMYK": saved(colours.convert("CMYK"), "JPEG"),
        "grey JPEG": saved(grey, "JPEG"),
        "animation": saved(colours.quantize(32), "GIF", save_all=True, append_images=[grey]),
        "TIFF, 16 bits": saved(Image.fromarray(deep), "TIFF"),
        "TIFF, integers": saved(Image.fromarray(deep.astype(np.int32)), "TIFF"),
        "WebP, alpha": saved(clear, "WEBP", lossless=True),
    }


@pytest.mark.parametrize("name", images())
def test_path_bytes_pillow_image_and_array_are_the_same_input(name: str, tmp_path: Path) -> None:
    data = images()[name]
    file = tmp_path / "image"
    file.write_bytes(data)
    expected = rescale(decode(data), SIZE)
    loaded = Image.open(io.BytesIO(data))
    given = [file, str(file), data, bytearray(data), memoryview(data), Image.open(io.BytesIO(data)), decode(data)]
    given.append(torch.from_numpy(decode(data).copy()))
    loaded.load()  # Pillow forgets how many bits the samples had
    given += [loaded, loaded.copy()]
    for each in given:
        assert np.array_equal(square(each, SIZE), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_an_array_is_what_pillow_makes_of_it(mode: str) -> None:
    image = Image.merge("RGBA", (*Image.fromarray(scene()).split(), Image.fromarray(scene(seed=1)).convert("L")))
    array = np.asarray(image.convert(mode))
    found = square(array, SIZE)
    assert np.array_equal(found, square(image.convert(mode), SIZE))
    assert np.array_equal(found, square(array[::-1][::-1], SIZE))  # not contiguous
    if mode == "L":
        assert np.array_equal(found, square(array[:, :, None], SIZE))


REFUSED = {
    "float32": np.zeros((8, 9, 3), np.float32),
    "int64": np.zeros((8, 9, 3), np.int64),
    "uint16": np.zeros((8, 9, 3), np.uint16),
    "bool": np.zeros((8, 9, 3), bool),
    "objects": np.zeros((8, 9, 3), object),
    "channels first": np.zeros((3, 8, 9), np.uint8),
    "five channels": np.zeros((8, 9, 5), np.uint8),
    "a batch": np.zeros((2, 8, 9, 3), np.uint8),
    "a row": np.zeros(24, np.uint8),
    "a number": np.zeros((), np.uint8),
    "no rows": np.zeros((0, 9, 3), np.uint8),
    "no columns": np.zeros((8, 0, 3), np.uint8),
    "no columns, grey": np.zeros((8, 0), np.uint8),
    "a float tensor": torch.zeros(3, 8, 9),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_array_is_refused_by_its_dtype_and_shape(name: str) -> None:
    image = REFUSED[name]
    with pytest.raises(
        ValueError, match=r"^the array is .*: give uint8 \[height, width, 3\] in RGB, 0 to 255$"
    ) as error:
        square(image, SIZE)
    assert f"{np.asarray(image).dtype} {list(image.shape)}" in str(error.value)


@pytest.mark.parametrize("given", [None, 3, [[1, 2, 3]], {}, object()])
def test_what_is_no_image_at_all_is_refused_by_its_type(given: object) -> None:
    with pytest.raises(ValueError, match=rf"^{type(given).__name__} is no image: give a path, .* or an array$"):
        square(given, SIZE)  # type: ignore[arg-type]


def test_a_tensor_with_a_gradient_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"^the image cannot be taken as an array: .*requires grad"):
        square(torch.zeros(8, 9, 3, requires_grad=True), SIZE)


def test_pillow_images_that_are_no_colours_are_refused() -> None:
    cut = Image.open(io.BytesIO(saved(scene(), "PNG")[:-5000]))
    cases = [
        (Image.new("F", (8, 9)), r"\(F\) .*: its pixels are floating-point numbers"),
        (Image.fromarray(np.full((8, 9), 70_000, np.int32)), r"\(I\) .*: its pixels are integers of 32 bits"),
        (Image.new("RGB", (0, 9)), "has 0x9 pixels"),
        (cut, "cannot be converted to RGB: .*"),
    ]
    for image, reason in cases:
        with pytest.raises(ValueError, match=reason):
            square(image, SIZE)


def test_a_floating_point_file_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"^it cannot be decoded: its pixels are floating-point numbers"):
        square(saved(Image.new("F", (8, 9)), "TIFF"), SIZE)


@pytest.mark.parametrize("size", [0, -1, 4097])
def test_an_impossible_size_is_refused(size: int) -> None:
    for image in (scene(), saved(scene(), "JPEG")):
        with pytest.raises(ValueError, match=f"the size is {size}: give 1 to 4096 pixels"):
            square(image, size)


def test_files_that_are_no_regular_files_are_refused_before_they_are_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))} cannot be read: .+$"):
            square(path, SIZE)


def test_exif_turns_files_and_pillow_images_alike() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(scene(), "PNG", exif=exif)
    turned = square(data, SIZE, honour_exif=True)
    assert np.array_equal(turned, square(np.rot90(scene(), -1), SIZE))
    assert np.array_equal(turned, square(Image.open(io.BytesIO(data)), SIZE, honour_exif=True))
    for image in (data, Image.open(io.BytesIO(data))):
        assert np.array_equal(square(image, SIZE), square(scene(), SIZE))
