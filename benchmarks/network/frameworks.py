"""PyTorch, TensorFlow and JAX with the paper's network: each in a process of its own, with our weights, checked."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from alexnet import AlexNet
from benchmarks.comparison import Contender
from benchmarks.separate_process import SeparateProcess, UnavailableError

PACKAGES = ["torch", "tensorflow-cpu", "keras", "jax", "flax", "optax"]
GROUPED, UNGROUPED = 60_965_224, 62_378_344  # parameters
MALLOC_KEEPS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""With these in its environment the GNU C library keeps freed memory, as `alexnet train` asks it to."""
TWO_TOWERS = ("conv2", "conv4", "conv5")
"""The layers whose kernels see one tower only: convolutions of two groups."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.06}
"""How far logits may be from PyTorch's float32 logits, as a fraction of the largest."""


@dataclass(frozen=True)
class Framework:
    """A way to run the network: a module of `benchmarks.network` and its variant."""

    name: str
    module: str
    variant: str
    parameters: int = GROUPED
    variables: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment."""


FRAMEWORKS = [
    Framework("PyTorch eager", "worker_pytorch", "eager"),
    Framework("PyTorch eager, malloc keeps memory", "worker_pytorch", "eager", variables=MALLOC_KEEPS),
    Framework("PyTorch torch.compile", "worker_pytorch", "compiled"),
    Framework("TensorFlow", "worker_keras", "grouped"),
    Framework("TensorFlow, without groups", "worker_keras", "ungrouped", UNGROUPED),
    Framework("JAX", "worker_flax", "grouped"),
    Framework("JAX, without groups", "worker_flax", "ungrouped", UNGROUPED),
]
NAMES = [framework.name for framework in FRAMEWORKS]


def write_inputs(folder: Path, network: AlexNet, x: Tensor, labels: Tensor) -> None:
    """Write what the workers read: images [B, 3, S, S], labels [B], and the parameters in each framework's layout.

    Keras and Flax want channels last and weights [..., in, out]. Their dropout scales in training, the paper's in
    evaluation: their fc7 and fc8 weights are halved. Without groups, zeros connect the towers.
    """
    plain: dict[str, Any] = {name: p.detach().contiguous().numpy() for name, p in network.named_parameters()}
    np.savez(folder / "pytorch.npz", **plain)
    grouped = {}
    for name, w in plain.items():
        if name == "fc6.weight":  # sees the activations flattened with channels last
            w = w.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(len(w), -1)
        if name in ("fc7.weight", "fc8.weight"):
            w = w * 0.5
        grouped[name] = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
    ungrouped = dict(grouped)
    for name in (f"{layer}.weight" for layer in TWO_TOWERS):
        one, other = np.split(grouped[name], 2, 3)
        zeros = np.zeros_like(one)
        ungrouped[name] = np.concatenate([np.concatenate([one, zeros], 2), np.concatenate([zeros, other], 2)], 3)
    np.savez(folder / "grouped.npz", **grouped)
    np.savez(folder / "ungrouped.npz", **ungrouped)
    np.save(folder / "images.npy", x.permute(0, 2, 3, 1).contiguous().numpy())
    np.save(folder / "labels.npy", labels.numpy())


@contextlib.contextmanager
def started(
    names: Sequence[str],
    task: Literal["training", "inference"],
    dtype: torch.dtype,
    folder: Path,
    logits: np.ndarray,
    images: float,
    missing: dict[str, str],
) -> Iterator[dict[str, Contender]]:
    """The frameworks `names` as contenders, each started on the inputs in `folder` and warm.

    One round handles `images` images on as many threads as PyTorch has. `missing` receives the reasons of those that
    cannot be measured. Asserts that each has the right number of parameters and, without dropout, the `logits`
    [B, 1000].
    """
    form = str(dtype).removeprefix("torch.")
    times = max(1, int(images) // len(logits))
    with contextlib.ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for each in FRAMEWORKS:
            if each.name not in names:
                continue
            arguments = task, form, torch.get_num_threads(), each.variant, folder
            module = f"benchmarks.network.{each.module}"
            try:
                process = stack.enter_context(SeparateProcess(module, *arguments, variables=each.variables))
                process.run()  # compiles; shows what it cannot do
            except UnavailableError as reason:
                missing[f"{each.name}, {task}, {form}"] = str(reason)
                print(f"{each.name}: {reason}", flush=True)
                continue
            assert process.description["parameters"] == each.parameters, f"{each.name}: {process.description}"
            error = np.abs(np.load(folder / "logits.npy") - logits).max()
            assert error <= TOLERANCE[dtype] * np.abs(logits).max(), f"{each.name} is {error:.2g} from PyTorch"
            contenders[each.name] = (_skip_first(functools.partial(process.run, times)), images)
        yield contenders


def _skip_first(work: Callable[[], object]) -> Callable[[], object]:
    """`work` that does nothing the first time: `compare` does not count that round, and the process is warm already."""
    calls = itertools.count()
    return lambda: work() if next(calls) else None
