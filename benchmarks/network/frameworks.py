"""PyTorch, TensorFlow and JAX for the comparisons of the network: each in a process of its own, as its users run it,
with our weights, checked."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet import AlexNet
from benchmarks.comparison import Form
from benchmarks.separate_process import Elsewhere, Unavailable

FRAMEWORKS = ["torch", "tensorflow-cpu", "keras", "jax", "flax", "optax"]
GROUPED, UNGROUPED = 60_965_224, 62_378_344  # parameters
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""With these the GNU C library keeps freed memory, as `alexnet train` has it do."""


@dataclass(frozen=True)
class Other:
    """`form` of a framework, how many parameters it has, and its variables of the environment."""

    name: str
    script: str
    form: str
    parameters: int = GROUPED
    variables: Mapping[str, str] = field(default_factory=dict)


OTHERS = [
    Other("PyTorch as written", "benchmarks.network.worker_pytorch", "written"),
    Other("PyTorch as written, memory kept", "benchmarks.network.worker_pytorch", "written", variables=KEPT),
    Other("PyTorch compiled", "benchmarks.network.worker_pytorch", "compiled"),
    Other("TensorFlow", "benchmarks.network.worker_keras", "grouped"),
    Other("TensorFlow, without groups", "benchmarks.network.worker_keras", "ungrouped", UNGROUPED),
    Other("JAX", "benchmarks.network.worker_flax", "grouped"),
    Other("JAX, without groups", "benchmarks.network.worker_flax", "ungrouped", UNGROUPED),
]
TOWERS = ("conv2", "conv4", "conv5")


def write_inputs(folder: Path, network: AlexNet, x: Tensor, labels: Tensor) -> None:
    """What the other processes read, for TensorFlow and Flax in their layout: channels last, weights [..., in, out].

    Their dropout scales while training, the paper's while testing: fc7 and fc8 are halved. Without groups, zeros
    stand between the towers.
    """
    plain: dict[str, Any] = {name: p.detach().contiguous().numpy() for name, p in network.named_parameters()}
    np.savez(folder / "pytorch.npz", **plain)
    grouped = {}
    for name, w in plain.items():
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
    np.save(folder / "images.npy", x.permute(0, 2, 3, 1).contiguous().numpy())
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
        for each in OTHERS:
            arguments = what, what_dtype, torch.get_num_threads(), each.form, folder
            try:
                other = stack.enter_context(Elsewhere(each.script, *arguments, variables=each.variables))
                other.work()  # compiles; what it cannot do shows here
            except Unavailable as reason:
                missing[f"{each.name}, {what}, {what_dtype}"] = str(reason)
                print(f"{each.name}: {reason}", flush=True)
                continue
            assert other.said["parameters"] == each.parameters, f"{each.name} has {other.said['parameters']} parameters"
            tolerance = (1e-3 if dtype == torch.float32 else 0.06) * np.abs(expected).max()
            error = np.abs(np.load(folder / "logits.npy") - expected).max()
            assert error <= tolerance, f"{each.name} is {error:.2g} from PyTorch"
            forms[each.name] = (_after_the_first(functools.partial(other.work, times)), units)
        yield forms


def _after_the_first(work: Callable[[], object]) -> Callable[[], object]:
    """`work` that does nothing the first time: `compare` does not count it, and it has been warm since before."""
    calls = itertools.count()
    return lambda: work() if next(calls) else None
