"""What a worker makes of a chunk of images: rows in order, what was skipped, sums."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.data.image.decode import decode
from alexnet.data.image.encode import decode_stored, encode
from alexnet.data.image.resize import rescale
from alexnet.data.prepare.chunk import Chunk, ImageOptions, prepare_chunk
from alexnet.data.sources.source import FileAt, LabelledImage


def noise(count: int, size: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def test_a_chunk_keeps_its_order_and_lists_what_is_skipped(tmp_path: Path) -> None:
    content = [Image.fromarray(np.roll(noise(1, 40)[0], shift, axis=1)[:, :30]) for shift in range(4)]
    images = []
    for number, image in enumerate(content):
        file = io.BytesIO()
        image.save(file, "PNG")
        path = tmp_path / f"{number}.png"
        path.write_bytes(file.getvalue()[: 200 if number == 2 else None])
        images.append(LabelledImage(f"key {number}", number + 5, FileAt(str(path))))
    images.append(LabelledImage("gone", 1, FileAt(str(tmp_path / "gone.png"))))
    rows, skipped, sums = prepare_chunk(Chunk("train", images), ImageOptions(size=20))
    assert [(row.key, row.label) for row in rows] == [("key 0", 5), ("key 1", 6), ("key 3", 8)]
    assert [each.key for each in skipped] == ["key 2", "gone"]
    assert all(each.reason for each in skipped)
    stored = [encode(rescale(np.asarray(content[number]), 20)) for number in (0, 1, 3)]
    assert [row.image for row in rows] == stored
    assert sums is not None
    assert np.array_equal(sums.first, sum(decode_stored(image, 20).astype(int) for image in stored))
    assert prepare_chunk(Chunk("val", images), ImageOptions(size=20)) == (rows, skipped, None)


def test_the_options_decide_size_quality_and_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "turned.jpg"
    Image.fromarray(noise(1, 200)[0][:, :150]).save(file, exif=exif)
    image = [LabelledImage("turned", 0, FileAt(str(file)))]
    for options in (ImageOptions(130), ImageOptions(140, 50), ImageOptions(130, 95, True)):
        stored = prepare_chunk(Chunk("val", image), options).rows[0].image
        expected = rescale(decode(file.read_bytes(), honour_exif=options.honour_exif), options.size)
        assert stored == encode(expected, options.quality)
