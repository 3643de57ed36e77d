"""Batches from a folder of class folders with `tf.data`, in a process of its own (`separate_process.py`).

    python -m benchmarks.loading.worker_tf_data FOLDER 128 224

Arguments: the folder, the batch size, the size of crops.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from benchmarks.separate_process import serve


def prepare() -> tuple[dict[str, Any], Callable[[], object]]:
    folder, batch, crop = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    paths = sorted(str(path) for path in Path(folder).glob("*/*.jpg"))
    labels = [int(Path(path).parent.name) for path in paths]

    def random_crop(path: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.random_flip_left_right(tf.image.random_crop(image, (crop, crop, 3))), label

    batches = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths))
    batches = batches.map(random_crop, tf.data.AUTOTUNE, deterministic=False)
    batches = batches.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def work() -> None:
        for crops, _ in batches:
            assert crops.shape == (batch, crop, crop, 3)

    return {"version": tf.__version__}, work


if __name__ == "__main__":
    serve(prepare)
