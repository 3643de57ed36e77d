"""A small store of coloured noise, and settings of a small training on it, for tests that start other processes."""

from pathlib import Path

import numpy as np
from PIL import Image

from alexnet.data.prepare.prepare import prepare

SIZE, CROP = 56, 51
SETTINGS = (
    f"--network.input-size {CROP} --network.width 0.0834 --network.initial-std 0.02 0.1 0.1 0.1 0.1 0.1 0.1 0.1 "
    "--batch-size 8 --dtype float32 --device cpu --workers 1 --optim.lr 0.001 --schedule.kind epochs"
).split()


def noise_store(folder: Path, train: int = 12, val: int = 5) -> Path:
    """Three classes of noise in red, green and blue: `train` and `val` images of each."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(("red", "green", "blue")):
            place = folder / "images" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                image = random.integers(0, 120, (SIZE, SIZE, 3))
                image[..., label] += 120
                Image.fromarray(image.astype(np.uint8)).save(place / f"{i}.png")
    prepare(folder / "images", folder / "store", size=SIZE, workers=1)
    return folder / "store"
