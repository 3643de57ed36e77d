"""Batches with FFCV, in a process of its own (`separate_process.py`).

    python -m benchmarks.loading.worker_ffcv FOLDER 128 224

Arguments: the folder of class folders, the batch size, the size of crops. FFCV writes a file of its own first, and
encodes the pixels again for it, with the same JPEG quality. It wants other package versions, and so another virtual
environment, and is built from source against OpenCV and libjpeg-turbo:
`apt install libopencv-dev libturbojpeg0-dev; pip install ffcv pillow`.
"""

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, ToTensor
from ffcv.writer import DatasetWriter
from PIL import Image

from benchmarks.separate_process import serve


class Images:
    """A folder of class folders, as `DatasetWriter` reads it."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*/*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        path = self.paths[index]
        return np.asarray(Image.open(path).convert("RGB")), int(path.parent.name)


def prepare() -> tuple[dict[str, Any], Callable[[], object]]:
    folder, batch, crop = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    cores = len(os.sched_getaffinity(0))
    images = Images(folder)
    file = tempfile.NamedTemporaryFile(suffix=".beton", dir=folder.parent)  # noqa: SIM115 (needed to the end)
    fields = {"image": RGBImageField(write_mode="jpg", jpeg_quality=95), "label": IntField()}
    DatasetWriter(file.name, fields, num_workers=cores).from_indexed_dataset(images)
    share = (crop / images[0][0].shape[0]) ** 2  # of the image's area: cropped, not rescaled
    random_crop = RandomResizedCropRGBImageDecoder((crop, crop), scale=(share, share), ratio=(1, 1))
    pipelines = {"image": [random_crop, RandomHorizontalFlip(), ToTensor()], "label": [IntDecoder(), ToTensor()]}
    order = OrderOption.RANDOM
    loader = Loader(
        file.name, batch, num_workers=cores, os_cache=True, order=order, drop_last=True, pipelines=pipelines
    )

    def work(_: Any = file) -> None:
        for crops, _labels in loader:
            assert tuple(crops.shape) == (batch, crop, crop, 3)

    return {"version": importlib.metadata.version("ffcv")}, work


if __name__ == "__main__":
    serve(prepare)
