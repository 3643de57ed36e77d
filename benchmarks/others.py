"""TensorFlow and JAX for the comparisons of the network: each in a process of its own, with our weights, checked."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from elsewhere import Elsewhere, Unavailable
from side_by_side import Form
from torch import Tensor

from alexnet import AlexNet

# Name, script, whether conv2, conv4 and conv5 have the paper's two groups, and where the logits go.
OTHERS = [
    ("TensorFlow", "with_tensorflow.py", "grouped", "tensorflow.npy"),
    ("TensorFlow, without groups", "with_tensorflow.py", "ungrouped", "tensorflow.npy"),
    ("JAX", "with_jax.py", "grouped", "jax.npy"),
]
PAPER, WITHOUT_GROUPS = 60_965_224, 62_378_344  # parameters


def write_inputs(folder: Path, network: AlexNet, x: Tensor, labels: Tensor) -> None:
    """What the other processes read."""
    weights = {name: p.detach().contiguous().numpy() for name, p in network.named_parameters()}
    np.savez(folder / "weights.npz", **weights)
    np.save(folder / "pictures.npy", x.contiguous().numpy())
    np.save(folder / "labels.npy", labels.numpy())


@contextlib.contextmanager
def others(
    what: str, dtype: torch.dtype, folder: Path, expected: np.ndarray, units: float, missing: dict[str, str]
) -> Iterator[dict[str, Form]]:
    """Each as a form of the same work, with as many threads as PyTorch has; `missing` receives why one is not there.

    All have the right number of parameters and, without dropout, the `expected` logits of [B, 1000].
    """
    with contextlib.ExitStack() as stack:
        forms: dict[str, Form] = {}
        form_of = str(dtype).removeprefix("torch.")
        for name, script, form, logits in OTHERS:
            try:
                other = Elsewhere(script, what, form_of, torch.get_num_threads(), form, folder)
                stack.enter_context(other)
                other.work()  # compiles; what it cannot do shows here
            except Unavailable as reason:
                missing[f"{name}, {form_of}"] = str(reason)
                print(f"{name}: {reason}", flush=True)
                continue
            wanted = PAPER if form == "grouped" else WITHOUT_GROUPS
            assert other.said["parameters"] == wanted, f"{name} has {other.said['parameters']} parameters"
            tolerance = (1e-3 if dtype == torch.float32 else 0.06) * np.abs(expected).max()
            error = np.abs(np.load(folder / logits) - expected).max()
            assert error <= tolerance, f"{name} is {error:.2g} from PyTorch"
            forms[name] = (other.work, units)
        yield forms
