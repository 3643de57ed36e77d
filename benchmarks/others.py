"""TensorFlow and JAX for the comparisons of the network: each in a process of its own, with our weights, checked."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from elsewhere import Elsewhere, Unavailable
from side_by_side import Form
from torch import Tensor

from alexnet import AlexNet

FRAMEWORKS = ["tensorflow-cpu", "keras", "jax", "flax", "optax"]
OTHERS = {"TensorFlow": "with_tensorflow.py", "JAX": "with_jax.py"}
FORMS = {"grouped": ("", 60_965_224), "ungrouped": (", without groups", 62_378_344)}  # and their parameters
TOWERS = ("conv2", "conv4", "conv5")


def write_inputs(folder: Path, network: AlexNet, x: Tensor, labels: Tensor) -> None:
    """What the other processes read, in the layout of TensorFlow and Flax: channels last, weights [..., in, out].

    Their dropout scales while training, the paper's while testing: fc7 and fc8 are halved. Without groups, zeros
    stand between the towers.
    """
    grouped = {}
    for name, p in network.named_parameters():
        w = p.detach().contiguous().numpy()
        if name == "fc6.weight":  # there the channels come last in what is flattened too
            w = w.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(len(w), -1)
        if name in ("fc7.weight", "fc8.weight"):
            w = w * 0.5
        grouped[name] = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
    ungrouped = dict(grouped)
    for name in (f"{layer}.weight" for layer in TOWERS):
        one, other = np.split(grouped[name], 2, 3)
        nothing = np.zeros_like(one)
        ungrouped[name] = np.concatenate([np.concatenate([one, nothing], 2), np.concatenate([nothing, other], 2)], 3)
    np.savez(folder / "grouped.npz", **grouped)
    np.savez(folder / "ungrouped.npz", **ungrouped)
    np.save(folder / "pictures.npy", x.permute(0, 2, 3, 1).contiguous().numpy())
    np.save(folder / "labels.npy", labels.numpy())


@contextlib.contextmanager
def others(
    what: str, dtype: torch.dtype, folder: Path, expected: np.ndarray, units: float, missing: dict[str, str]
) -> Iterator[dict[str, Form]]:
    """Each as a form of the same work, with as many threads as PyTorch has; `missing` receives why one is not there.

    All have the right number of parameters and, without dropout, the `expected` logits of [B, 1000].
    """
    what_dtype = str(dtype).removeprefix("torch.")
    times = max(1, int(units) // len(expected))
    with contextlib.ExitStack() as stack:
        forms: dict[str, Form] = {}
        for (framework, script), (form, (suffix, parameters)) in itertools.product(OTHERS.items(), FORMS.items()):
            try:
                other = stack.enter_context(Elsewhere(script, what, what_dtype, torch.get_num_threads(), form, folder))
                other.work()  # compiles; what it cannot do shows here
            except Unavailable as reason:
                missing[f"{framework}{suffix}, {what}, {what_dtype}"] = str(reason)
                print(f"{framework}{suffix}: {reason}", flush=True)
                continue
            name = f"{framework}{suffix}"
            assert other.said["parameters"] == parameters, f"{name} has {other.said['parameters']} parameters"
            tolerance = (1e-3 if dtype == torch.float32 else 0.06) * np.abs(expected).max()
            error = np.abs(np.load(folder / "logits.npy") - expected).max()
            assert error <= tolerance, f"{name} is {error:.2g} from PyTorch"
            forms[name] = (_after_the_first(functools.partial(other.work, times)), units)
        yield forms


def _after_the_first(work: Callable[[], object]) -> Callable[[], object]:
    """`work` that does nothing the first time: `compare` does not count it, and it has been warm since before."""
    calls = itertools.count()
    return lambda: work() if next(calls) else None
