"""One training step of the paper's network: this package, PyTorch, TensorFlow and JAX, in turn.

    python -m benchmarks.network.training_step --batch-size 128 --rounds 5 --out results.json

All train the same network (paper, section 3: response normalisation per tower, overlapping pooling, dropout) with the
same update on one repeated batch.

- alexnet: `AlexNet` as `alexnet train` runs it, kernels of this package included
- PyTorch eager: `nn.LocalResponseNorm` on each tower, `nn.MaxPool2d`, default memory layout, `torch.optim.SGD`
- PyTorch eager, malloc keeps memory: the same where the GNU C library keeps freed memory, as `alexnet train` asks it to
- PyTorch torch.compile: in channels last, with the normalisation's sums as a 1x1 convolution
- TensorFlow: Keras layers, `tf.nn.local_response_normalization`, `tf.function`, `mixed_bfloat16`
- JAX: Flax and Optax, jitted with donated weights, the normalisation in jnp
- without groups: convolutions of all channels, with twice the operations in conv2, conv4 and conv5. Users of TensorFlow
  and JAX may choose them, because grouped convolutions are slow there on CPUs (the results show both)
- PyTorch, convolutions and GEMMs alone: those of the step and nothing else, by `nn.Conv2d` and `nn.Linear`
- limit: as many operations at the speed of PyTorch's 3x3 convolution of 512 channels, as `alexnet bench` measures it

PyTorch, TensorFlow and JAX run in processes of their own, which wait while another is measured; all stay in memory.
They start from our weights, and without dropout their logits are checked against ours. A framework that is not
installed is listed with the reason. Prints images per second: the median, and the slowest and fastest round.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet import AlexNet
from alexnet.bench import limits
from alexnet.bench.network import training_step
from alexnet.model.cpu import kernels
from alexnet.networks import NETWORKS
from benchmarks.comparison import OURS, Contender, Section, add_results, compare, options
from benchmarks.network import frameworks
from benchmarks.network.torch_nn import CLASSES, copy_parameters, torch_nn_network

CPU = torch.device("cpu")
LIMIT = "limit (3x3 convolution)"


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--networks", nargs="+", default=["paper"], help="networks of this package to measure")
    parser.add_argument("--frameworks", nargs="*", default=frameworks.NAMES, choices=frameworks.NAMES, metavar="NAME")
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet train` does
    results, missing = {}, {}
    for name in arguments.dtypes:
        title = f"{name}, batch {arguments.batch_size}"
        with tempfile.TemporaryDirectory() as folder:
            results[title] = measure(getattr(torch, name), Path(folder), title, missing, arguments)
    section = Section("training step", arguments.rounds, results, frameworks.PACKAGES, LIMIT, missing=missing)
    add_results(arguments.out, section)


def measure(
    dtype: torch.dtype, folder: Path, title: str, missing: dict[str, str], arguments: argparse.Namespace
) -> dict[str, Any]:
    batch = arguments.batch_size
    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, 224, 224) * 60, torch.randint(0, CLASSES, (batch,))
    paper = NETWORKS["paper"].config
    work, operations = limits.convolution(dtype, CPU)
    contenders: dict[str, Contender] = {
        LIMIT: (work, operations / limits.operations(paper, training=True)),
        "PyTorch, convolutions and GEMMs alone": limits.gemm(paper, batch, dtype, CPU, training=True),
        **{
            f"{OURS} ({network})": (training_step(NETWORKS[network].config, batch, dtype, CPU), batch)
            for network in arguments.networks
        },
    }
    logits = write_inputs(folder, x, y)
    names = arguments.frameworks
    with frameworks.started(names, "training", dtype, folder, logits, batch, missing) as others:
        return compare(f"training step, {title}", contenders | others, arguments.rounds, LIMIT)


def write_inputs(folder: Path, x: Tensor, y: Tensor) -> np.ndarray:
    """Write what the frameworks read. Returns the logits that they must have, [B, 1000]."""
    config = dataclasses.replace(NETWORKS["paper"].config, initial_std=(), initial_bias=())  # logits far from zero
    network = AlexNet(config, generator=torch.Generator().manual_seed(0))
    frameworks.write_inputs(folder, network, x, y)
    plain = copy_parameters(torch_nn_network(), network.parameters()).eval()
    with torch.inference_mode():
        logits = plain(x)
        assert torch.allclose(network.eval()(x), logits, atol=1e-4 * float(logits.abs().max()))
    return logits.numpy()


if __name__ == "__main__":
    main()
