"""The paper's network in TensorFlow, with Keras, in a process of its own (`separate_process.py`).

    python -m benchmarks.network.worker_keras training float32 2 grouped FOLDER

Arguments: `training` or `inference`, the dtype, the number of threads, `grouped` or `ungrouped` convolutions in conv2,
conv4 and conv5, and a folder with `grouped.npz` or `ungrouped.npz`, `images.npy` and `labels.npy` (`frameworks.py`
writes them). The logits without dropout go to `logits.npy` in the folder. TensorFlow has no LRN in bfloat16 on CPUs:
that layer runs in float32.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.separate_process import serve


@keras.saving.register_keras_serializable()
class PerTowerNorm(layers.Layer):
    """`tf.nn.local_response_normalization` on each tower."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.concat(
            [tf.nn.local_response_normalization(half, 2, 2.0, 1e-4, 0.75) for half in tf.split(x, 2, 3)], 3
        )


def paper_network(groups: int) -> keras.Model:
    """The paper's network for images [B, 224, 224, 3]; returns logits [B, 1000] in float32."""

    def pool() -> layers.Layer:
        return layers.MaxPool2D(3, 2)

    return keras.Sequential(
        [
            keras.Input((224, 224, 3)),
            layers.ZeroPadding2D(((0, 3), (0, 3))),
            layers.Conv2D(96, 11, 4, activation="relu", name="conv1"),
            *(PerTowerNorm(dtype="float32"), pool()),
            layers.Conv2D(256, 5, padding="same", groups=groups, activation="relu", name="conv2"),
            *(PerTowerNorm(dtype="float32"), pool()),
            layers.Conv2D(384, 3, padding="same", activation="relu", name="conv3"),
            layers.Conv2D(384, 3, padding="same", groups=groups, activation="relu", name="conv4"),
            layers.Conv2D(256, 3, padding="same", groups=groups, activation="relu", name="conv5"),
            *(pool(), layers.Flatten()),
            *(layers.Dense(4096, activation="relu", name="fc6"), layers.Dropout(0.5)),
            *(layers.Dense(4096, activation="relu", name="fc7"), layers.Dropout(0.5)),
            layers.Dense(1000, dtype="float32", name="fc8"),
        ]
    )


def prepare() -> tuple[dict[str, Any], Any]:
    task, dtype, threads, variant, name = sys.argv[1:]
    folder = Path(name)
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    keras.mixed_precision.set_global_policy({"float32": "float32", "bfloat16": "mixed_bfloat16"}[dtype])
    network = paper_network({"grouped": 2, "ungrouped": 1}[variant])
    with np.load(folder / f"{variant}.npz") as weights:
        for layer in network.layers:
            if layer.weights:
                layer.set_weights([weights[f"{layer.name}.weight"], weights[f"{layer.name}.bias"]])
    images, labels = (tf.constant(np.load(folder / f"{name}.npy")) for name in ("images", "labels"))
    np.save(folder / "logits.npy", network(images, training=False).numpy())
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(1e-6, momentum=0.9, weight_decay=5e-4)
    optimizer.build(network.trainable_variables)

    @tf.function
    def update(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss: Any = loss_of(y, network(x, training=True))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    @tf.function
    def logits(x: tf.Tensor) -> tf.Tensor:
        return network(x, training=False)

    def step() -> np.ndarray:
        return update(images, labels).numpy()

    def infer() -> np.ndarray:
        return logits(images).numpy()

    description = {"version": tf.__version__, "parameters": network.count_params()}
    return description, step if task == "training" else infer


if __name__ == "__main__":
    serve(prepare)
