"""The paper's network in JAX, with Flax and Optax, in a process of its own (`separate_process.py`).

    python -m benchmarks.network.worker_flax training float32 2 grouped FOLDER

Takes the arguments of `worker_keras.py`. The number of threads is ignored: XLA uses all cores.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from benchmarks.separate_process import serve


def norm(x: jax.Array) -> jax.Array:
    """Local response normalisation of each tower, over five channels."""
    towers = x.reshape(*x.shape[:3], 2, -1)
    sums = jax.lax.reduce_window(jnp.square(towers), 0.0, jax.lax.add, (1, 1, 1, 1, 5), (1,) * 5, "SAME")
    return (towers * (2 + 1e-4 * sums) ** -0.75).reshape(x.shape)


def pool(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2))


class PaperNetwork(nn.Module):
    """The paper's network for images [B, 224, 224, 3]; returns logits [B, 1000] in float32."""

    dtype: Any
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array, training: bool) -> jax.Array:
        conv = functools.partial(nn.Conv, dtype=self.dtype)
        drop = functools.partial(nn.Dropout, 0.5, deterministic=not training)
        x = nn.relu(conv(96, (11, 11), 4, ((0, 3), (0, 3)), name="conv1")(x))
        x = pool(norm(x))
        x = nn.relu(conv(256, (5, 5), feature_group_count=self.groups, name="conv2")(x))
        x = pool(norm(x))
        x = nn.relu(conv(384, (3, 3), name="conv3")(x))
        x = nn.relu(conv(384, (3, 3), feature_group_count=self.groups, name="conv4")(x))
        x = nn.relu(conv(256, (3, 3), feature_group_count=self.groups, name="conv5")(x))
        x = pool(x).reshape(len(x), -1)
        x = drop()(nn.relu(nn.Dense(4096, dtype=self.dtype, name="fc6")(x)))
        x = drop()(nn.relu(nn.Dense(4096, dtype=self.dtype, name="fc7")(x)))
        return nn.Dense(1000, dtype=self.dtype, name="fc8")(x).astype(jnp.float32)


def prepare() -> tuple[dict[str, Any], Any]:
    task, dtype, _, variant, name = sys.argv[1:]
    folder = Path(name)
    network = PaperNetwork(jnp.dtype(dtype), {"grouped": 2, "ungrouped": 1}[variant])
    images, labels = (jnp.asarray(np.load(folder / f"{name}.npy")) for name in ("images", "labels"))
    weights = {}
    with np.load(folder / f"{variant}.npz") as loaded:
        for name in loaded:
            layer, part = name.split(".")
            weights.setdefault(layer, {})["kernel" if part == "weight" else part] = jnp.asarray(loaded[name])
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(1e-6, momentum=0.9))
    logits = jax.jit(functools.partial(network.apply, training=False))
    np.save(folder / "logits.npy", logits({"params": weights}, images))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(weights: Any, state: Any, key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
        def loss_of(weights: Any) -> jax.Array:
            logits: Any = network.apply({"params": weights}, x, training=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        loss, gradients = jax.value_and_grad(loss_of)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    current = [weights, optimizer.init(weights), jax.random.key(0)]

    def step() -> float:
        key, current[2] = jax.random.split(current[2])
        current[0], current[1], loss = update(current[0], current[1], key, images, labels)
        return float(loss)

    def infer() -> np.ndarray:
        return np.asarray(logits({"params": weights}, images))

    count = sum(w.size for w in jax.tree.leaves(weights))
    return {"version": jax.__version__, "parameters": count}, step if task == "training" else infer


if __name__ == "__main__":
    serve(prepare)
