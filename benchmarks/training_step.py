"""One training step of the paper's network, ours beside PyTorch as one would write it, alternating in one run.

    python benchmarks/training_step.py --batch-size 128 --rounds 5 --out benchmarks/results/today.json

All train the same network (paper, section 3: per-tower response normalisation, overlapping pooling, dropout) with the
same update on one repeated batch.

- as written: `nn.LocalResponseNorm` on each tower, `nn.MaxPool2d`, default memory layout, `torch.optim.SGD`
- compiled: the same in channels last with the normalisation's sums as a 1x1 convolution, through `torch.compile`
- ours: `AlexNet` as `alexnet train` runs it
- products alone: the convolutions and matrix products of the step and nothing else, as PyTorch runs them
- limit: as many operations at the speed of a 3x3 convolution of 512 channels, as `alexnet bench` measures it

Prints pictures per second: the median, and the slowest and fastest round.
"""

import torch
from as_written import CLASSES, as_written
from side_by_side import Form, compare, keep, options
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.bench import limits
from alexnet.bench.network import training_step
from alexnet.model import kernels
from alexnet.networks import NETWORKS
from alexnet.training.device import precision

CPU = torch.device("cpu")


def step_of(network: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype):
    """A function that does one training step with PyTorch's own optimizer."""
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, 0.9, weight_decay=5e-4)

    def step() -> None:
        with precision(CPU, dtype):
            logits = network(x)
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = options(__doc__, rounds=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--networks", nargs="+", default=["paper"], help="ours also for these networks")
    arguments = parser.parse_args()
    batch = arguments.batch_size
    kernels.reuse_memory()  # for all forms
    results = {}
    for name in arguments.dtypes:
        dtype = getattr(torch, name)
        x, y = torch.randn(batch, 3, 224, 224) * 60, torch.randint(0, CLASSES, (batch,))
        last = x.contiguous(memory_format=torch.channels_last)
        paper = NETWORKS["paper"].config
        work, operations = limits.convolution(dtype, CPU)
        theirs, compiled = as_written(), as_written(banded=True)
        compiled = compiled.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        forms: dict[str, Form] = {
            "limit": (work, operations / limits.operations(paper, training=True)),
            "products alone": limits.products(paper, batch, dtype, CPU, training=True),
            **{
                f"ours ({network})": (training_step(NETWORKS[network].config, batch, dtype, CPU), batch)
                for network in arguments.networks
            },
            "PyTorch as written": (step_of(theirs, x, y, dtype), batch),
            "PyTorch compiled": (step_of(torch.compile(compiled), last, y, dtype), batch),  # type: ignore[arg-type]
        }
        results[f"{name}, batch {batch}"] = compare(f"training step, {name}, batch {batch}", forms, arguments.rounds)
    keep(arguments.out, "training step", arguments.rounds, results, ["torch"])


if __name__ == "__main__":
    main()
