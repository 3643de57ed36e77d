"""Images of any format, read as `alexnet prepare` reads them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from alexnet.data.image import pixels
from alexnet.data.image.encode import decode_stored
from alexnet.data.prepare.chunk import Chunk, ImageOptions, prepare_chunk
from alexnet.data.sources.source import FileAt, LabelledImage

MOST_COMPARED = 1 << 20  # pixels of a JPEG that two decoders decode
SIZE = 32  # of the stored image


def encoded_image(file_format: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    """Coloured noise in a Pillow `mode`, as a file."""
    noise = np.random.default_rng(len(mode)).integers(0, 256, (4, 5, 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(image.convert("L"))
    else:
        image = image.quantize(16) if mode == "P" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def read_image(data: bytes, folder: Path) -> None:
    """Prepare the image for a store and decode what would be stored."""
    compare_decoders(data)
    file = folder / "image"
    file.write_bytes(data)
    done = prepare_chunk(Chunk("train", [LabelledImage("key", 0, FileAt(str(file)))]), ImageOptions(SIZE, 95, True))
    assert len(done.rows) + len(done.skipped) == 1
    if done.skipped:
        assert done.skipped[0].reason
        raise ValueError(done.skipped[0].reason)
    decode_stored(done.rows[0].image, SIZE)


def compare_decoders(data: bytes) -> None:
    """Our JPEG decoder must give libjpeg-turbo's pixels, or leave the file to libjpeg-turbo."""
    try:
        height, width = map(int, simplejpeg.decode_jpeg_header(data)[:2])
    except (ValueError, KeyError):
        return
    if height * width > MOST_COMPARED:
        return
    image = np.empty((height, width, 3), np.uint8)
    if pixels.decode_crops([data], (height, width), pixels.WHOLE, image[np.newaxis]).all():
        assert np.array_equal(image, simplejpeg.decode_jpeg(data))
