"""What a script with Pillow or OpenCV does to one photograph: the central square, rescaled to `SIZE`, as JPEG."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE, QUALITY = 256, 95


def prepare_with_pillow(path: Path, out: Path) -> None:
    """BICUBIC, which antialiases."""
    with Image.open(path) as image:
        pillow_square(image).save(out / path.name, quality=QUALITY, subsampling="4:2:0")


def pillow_square(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    side = min(image.size)
    width, height = (round(length * SIZE / side) for length in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    return image.crop((left, top, left + SIZE, top + SIZE))


def prepare_with_opencv(path: Path, out: Path) -> None:
    """INTER_AREA, as img2dataset does. Raises ImportError without OpenCV."""
    import cv2

    chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    cv2.imwrite(str(out / path.name), opencv_square(path), [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *chroma])


def opencv_square(path: Path) -> np.ndarray:
    """uint8 [SIZE, SIZE, 3], blue first."""
    import cv2

    cv2.setNumThreads(1)
    image = cv2.imread(str(path))
    assert image is not None
    height, width = image.shape[:2]
    side = min(height, width)
    shape = round(width * SIZE / side), round(height * SIZE / side)
    image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    top, left = (shape[1] - SIZE) // 2, (shape[0] - SIZE) // 2
    return image[top : top + SIZE, left : left + SIZE]
