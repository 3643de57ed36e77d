"""Inference with the paper's network: this package, PyTorch, ONNX Runtime, OpenVINO, TensorFlow and JAX, in turn.

    python -m benchmarks.network.inference --rounds 7 --out results.json

All have the same weights, and their logits are checked before.

- alexnet: the network as `load(RUN)` gives it, kernels of this package included
- OpenVINO, ONNX Runtime: a graph of ONNX's own operators, in this process
- PyTorch torch.compile: frozen weights, in channels last, with the normalisation's sums as a 1x1 convolution
- the others as in `training_step.py`, in processes of their own
- limit: as many operations at the speed of PyTorch's 3x3 convolution of 512 channels, as `alexnet bench` measures it

A framework that is not installed is listed with the reason; `pip install -e .[bench]` installs them.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.bench import limits
from alexnet.bench.network import images
from alexnet.model.cpu import kernels
from alexnet.networks import NETWORKS
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.device import precision
from benchmarks.comparison import OURS, Contender, Section, add_results, compare, options
from benchmarks.network import frameworks
from benchmarks.network.onnx_runtimes import RUNTIMES, Infer, write_onnx
from benchmarks.network.torch_nn import CLASSES, copy_parameters, torch_nn_network
from benchmarks.network.training_step import CPU, LIMIT
from benchmarks.separate_process import UnavailableError

FEWEST = 16  # images in a round, so that it is long enough to measure
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.06}
"""How far our logits and those of the runtimes may be from PyTorch's, as a fraction of the largest."""
PAPER = dataclasses.replace(NETWORKS["paper"].config, classes=CLASSES, initial_std=(), initial_bias=())


def main() -> None:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 1])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    names = [*RUNTIMES, *frameworks.NAMES]
    parser.add_argument("--frameworks", nargs="*", default=names, choices=names, metavar="NAME")
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet evaluate` does
    network = TrainedAlexNet(PAPER, generator=torch.Generator().manual_seed(0)).eval()
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    results, missing = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.dtypes:
            for batch in arguments.batch_sizes:
                dtype, title = getattr(torch, name), f"{name}, batch {batch}"
                results[title] = measure(network, batch, dtype, Path(folder), title, missing, arguments)
    packages = ["onnxruntime", "openvino", *frameworks.PACKAGES]
    add_results(arguments.out, Section("inference", arguments.rounds, results, packages, LIMIT, missing=missing))


def measure(
    network: TrainedAlexNet,
    batch: int,
    dtype: torch.dtype,
    folder: Path,
    title: str,
    missing: dict[str, str],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    torch.manual_seed(1)
    x = images(batch, PAPER, CPU)
    with torch.inference_mode():
        expected = copy_parameters(torch_nn_network(), network.parameters()).eval()(x).numpy()
    here: dict[str, Infer] = {OURS: our_inference(network, x, dtype)}
    graph = folder / "alexnet.onnx"
    for name in (name for name in RUNTIMES if name in arguments.frameworks):
        try:
            write_onnx(network, graph)
            here[name] = RUNTIMES[name](graph, x.contiguous().numpy(), dtype)
        except UnavailableError as reason:
            missing[f"{name}, {dtype}".replace("torch.", "")] = str(reason)
    for name, infer in here.items():
        error = np.abs(infer() - expected).max()
        assert error <= TOLERANCE[dtype] * np.abs(expected).max(), f"{name} is {error:.2g} from PyTorch"
    times = max(1, FEWEST // batch)
    count = float(times * batch)
    work, operations = limits.convolution(dtype, CPU)
    contenders: dict[str, Contender] = {LIMIT: (work, operations / limits.operations(PAPER, training=False))}
    contenders |= {name: (repeated(infer, times), count) for name, infer in here.items()}
    frameworks.write_inputs(folder, network, x, torch.zeros(batch, dtype=torch.int64))
    names = arguments.frameworks
    with frameworks.started(names, "inference", dtype, folder, expected, count, missing) as others:
        return compare(f"inference, {title}", contenders | others, arguments.rounds, LIMIT)


def our_inference(network: TrainedAlexNet, x: Tensor, dtype: torch.dtype) -> Infer:
    def infer() -> np.ndarray:
        with torch.inference_mode(), precision(CPU, dtype):
            return network(x).float().numpy()

    return infer


def repeated(work: Callable[[], object], times: int) -> Callable[[], None]:
    def several() -> None:
        for _ in range(times):
            work()

    return several


if __name__ == "__main__":
    main()
