"""The paper's network as one writes it with Flax and Optax, in a process of its own (see `elsewhere.py`).

    python benchmarks/with_jax.py training float32 2 grouped FOLDER

As `with_tensorflow.py`; logits go to `jax.npy`. XLA takes all cores that the process may use.
"""

import functools
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from elsewhere import serve
from flax import linen as nn


def norm(x: jax.Array) -> jax.Array:
    """Local response normalisation of each tower, over five channels."""
    towers = x.reshape(*x.shape[:3], 2, -1)
    squares = jnp.pad(jnp.square(towers), ((0, 0),) * 4 + ((2, 2),))
    sums = sum(squares[..., i : i + towers.shape[-1]] for i in range(5))
    return (towers * (2 + 1e-4 * sums) ** -0.75).reshape(x.shape)


def pool(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2))


class Paper(nn.Module):
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, training: bool) -> jax.Array:
        conv = functools.partial(nn.Conv, dtype=self.dtype)
        drop = functools.partial(nn.Dropout, 0.5, deterministic=not training)
        x = nn.relu(conv(96, (11, 11), 4, ((0, 3), (0, 3)), name="conv1")(x))
        x = pool(norm(x))
        x = nn.relu(conv(256, (5, 5), feature_group_count=2, name="conv2")(x))
        x = pool(norm(x))
        x = nn.relu(conv(384, (3, 3), name="conv3")(x))
        x = nn.relu(conv(384, (3, 3), feature_group_count=2, name="conv4")(x))
        x = nn.relu(conv(256, (3, 3), feature_group_count=2, name="conv5")(x))
        x = pool(x).reshape(len(x), -1)
        x = drop()(nn.relu(nn.Dense(4096, dtype=self.dtype, name="fc6")(x)))
        x = drop()(nn.relu(nn.Dense(4096, dtype=self.dtype, name="fc7")(x)))
        return nn.Dense(1000, dtype=self.dtype, name="fc8")(x).astype(jnp.float32)


def prepare() -> tuple[dict[str, Any], Any]:
    what, dtype, _, form, folder = sys.argv[1:]
    assert form == "grouped"
    network = Paper(jnp.dtype(dtype))
    pictures = jnp.asarray(np.load(Path(folder, "pictures.npy")).transpose(0, 2, 3, 1))
    labels = jnp.asarray(np.load(Path(folder, "labels.npy")))
    weights = in_flax(Path(folder, "weights.npz"))
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(1e-6, momentum=0.9))
    answer = jax.jit(functools.partial(network.apply, training=False))
    np.save(Path(folder, "jax.npy"), answer({"params": weights}, pictures))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: Any, state: Any, key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[Any, Any, jax.Array]:
        def loss_of(weights: Any) -> jax.Array:
            logits = network.apply({"params": weights}, x, training=True, rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        loss, gradients = jax.value_and_grad(loss_of)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    now = [weights, optimizer.init(weights), jax.random.key(0)]

    def train() -> float:
        key, now[2] = jax.random.split(now[2])
        now[0], now[1], loss = step(now[0], now[1], key, pictures, labels)
        return float(loss)

    def test() -> np.ndarray:
        return np.asarray(answer({"params": weights}, pictures))

    count = sum(w.size for w in jax.tree.leaves(weights))
    return {"version": jax.__version__, "parameters": count}, train if what == "training" else test


def in_flax(file: Path) -> dict[str, dict[str, jax.Array]]:
    """PyTorch's weights in Flax's layout."""
    found = {}
    with np.load(file) as weights:
        for name in [each.removesuffix(".weight") for each in weights if each.endswith(".weight")]:
            w = weights[f"{name}.weight"]
            if name == "fc6":  # the channels come last here
                w = w.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(len(w), -1)
            if name in ("fc7", "fc8"):
                w = w * 0.5  # Flax scales in training, the paper in testing
            kernel = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
            found[name] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(weights[f"{name}.bias"])}
    return found


if __name__ == "__main__":
    serve(prepare)
