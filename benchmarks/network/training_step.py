"""One training step of the paper's network, ours beside PyTorch as one would write it, alternating in one run.

    python -m benchmarks.network.training_step --batch-size 128 --rounds 5 --out benchmarks/results/today.json

All train the same network (paper, section 3: per-tower response normalisation, overlapping pooling, dropout) with the
same update on one repeated batch.

- PyTorch as written: `nn.LocalResponseNorm` on each tower, `nn.MaxPool2d`, default memory layout, `torch.optim.SGD`
- PyTorch compiled: in channels last with the normalisation's sums as a 1x1 convolution, through `torch.compile`
- PyTorch as written, memory kept: where the GNU C library keeps freed memory, as `alexnet train` has it do
- TensorFlow: Keras layers, `tf.nn.local_response_normalization`, `tf.function`, `mixed_bfloat16`
- JAX: Flax and Optax, jitted with donated weights, the normalisation in jnp
- without groups: these two with convolutions of all channels, twice the operations in conv2, conv4 and conv5, which
  they are better at
- ours: `AlexNet` as `alexnet train` runs it
- convolutions and GEMMs alone, PyTorch: those of the step and nothing else, by `nn.Conv2d` and `nn.Linear`
- limit: as many operations at the speed of a 3x3 convolution of 512 channels, as `alexnet bench` measures it

PyTorch as written and compiled, TensorFlow and JAX run in processes of their own, which wait while another form is
measured (batches of 128 need 21 GB in all); they have our weights, as many parameters, and without dropout the same
logits (checked before). A framework that is not there is listed with the reason. Prints images per second: the
median, and the slowest and fastest round.
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
from benchmarks.comparison import Form, compare, keep, options
from benchmarks.network.frameworks import FRAMEWORKS, others, write_inputs
from benchmarks.network.torch_nn import CLASSES, as_written, with_weights

CPU = torch.device("cpu")


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--networks", nargs="+", default=["paper"], help="ours also for these networks")
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet train` does
    results, missing = {}, {}
    for name in arguments.dtypes:
        title = f"{name}, batch {arguments.batch_size}"
        with tempfile.TemporaryDirectory() as folder:
            results[title] = measure(getattr(torch, name), Path(folder), title, missing, arguments)
    keep(arguments.out, "training step", arguments.rounds, results, FRAMEWORKS, missing)


def measure(
    dtype: torch.dtype, folder: Path, title: str, missing: dict[str, str], arguments: argparse.Namespace
) -> dict[str, Any]:
    batch = arguments.batch_size
    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, 224, 224) * 60, torch.randint(0, CLASSES, (batch,))
    paper = NETWORKS["paper"].config
    work, operations = limits.convolution(dtype, CPU)
    forms: dict[str, Form] = {
        "limit": (work, operations / limits.operations(paper, training=True)),
        "convolutions and GEMMs alone, PyTorch": limits.gemm(paper, batch, dtype, CPU, training=True),
        **{
            f"ours ({network})": (training_step(NETWORKS[network].config, batch, dtype, CPU), batch)
            for network in arguments.networks
        },
    }
    logits = logits_and_inputs(folder, x, y)
    with others("training", dtype, folder, logits, batch, missing) as more:
        return compare(f"training step, {title}", forms | more, arguments.rounds)


def logits_and_inputs(folder: Path, x: Tensor, y: Tensor) -> np.ndarray:
    """What the other frameworks read, with weights that make logits to compare, and those logits."""
    config = dataclasses.replace(NETWORKS["paper"].config, initial_std=(), initial_bias=())
    network = AlexNet(config, generator=torch.Generator().manual_seed(0))
    write_inputs(folder, network, x, y)
    plain = with_weights(as_written(), network.parameters()).eval()
    with torch.inference_mode():
        logits = plain(x)
        assert torch.allclose(network.eval()(x), logits, atol=1e-4 * float(logits.abs().max()))
    return logits.numpy()


if __name__ == "__main__":
    main()
