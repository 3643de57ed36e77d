"""One training step of the paper's network, ours beside PyTorch as one would write it, alternating in one run.

    python benchmarks/training_step.py --batch-size 64 --rounds 7

Both train the same network (paper, section 3: per-tower response normalisation, overlapping pooling, dropout) with
the same update on one repeated batch. "as written" uses `nn.LocalResponseNorm` on each tower, `nn.MaxPool2d`,
`nn.Dropout`, the default memory layout and `torch.optim.SGD`; "ours" is `AlexNet` as `alexnet train` runs it. "limit"
is what the same convolutions and matrix products (forward, weight gradients, and input gradients but conv1's) take by
themselves, in channels last. Prints pictures per second: the median, and the slowest and fastest round.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet import AlexNet
from alexnet.config import OptimConfig
from alexnet.model import kernels
from alexnet.training.device import precision
from alexnet.training.update import MomentumSGD

CPU = torch.device("cpu")
CLASSES = 1000


class TwoTowerNorm(nn.Module):
    """`nn.LocalResponseNorm` on each tower."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(half) for half in x.chunk(2, 1)], 1)


def as_written() -> nn.Sequential:
    """The same layers from torch.nn."""
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)  # noqa: E731
    return nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), TwoTowerNorm(), pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), TwoTowerNorm(), pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool(), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
        nn.Linear(4096, CLASSES),
    )


def step_of(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, dtype: torch.dtype):
    """A function that does one training step."""

    def step() -> None:
        with precision(CPU, dtype):
            logits = network(x)
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def products_alone(batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """The convolutions and matrix products of one step and nothing else."""
    shapes = [
        (nn.Conv2d(3, 96, 11, 4), (3, 227, 227)),
        (nn.Conv2d(96, 256, 5, padding=2, groups=2), (96, 27, 27)),
        (nn.Conv2d(256, 384, 3, padding=1), (256, 13, 13)),
        (nn.Conv2d(384, 384, 3, padding=1, groups=2), (384, 13, 13)),
        (nn.Conv2d(384, 256, 3, padding=1, groups=2), (384, 13, 13)),
        (nn.Linear(9216, 4096), (9216,)),
        (nn.Linear(4096, 4096), (4096,)),
        (nn.Linear(4096, CLASSES), (4096,)),
    ]
    work = []
    for layer, shape in shapes:
        layer = layer.to(dtype=dtype, memory_format=torch.channels_last)
        x = torch.randn(batch, *shape, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last) if len(shape) == 3 else x
        x.requires_grad_(shape[0] != 3)
        work.append((layer, x, torch.randn_like(layer(x))))

    def step() -> None:
        for layer, x, g in work:
            torch.autograd.grad(layer(x), [p for p in (x, layer.weight) if p.requires_grad], g)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    batch = arguments.batch_size
    kernels.reuse_memory()
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name in arguments.dtypes:
        dtype = getattr(torch, name)
        x, y = torch.randn(batch, 3, 224, 224) * 60, torch.randint(0, CLASSES, (batch,))
        ours = AlexNet("paper", classes=CLASSES).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        theirs = as_written()
        last = x.contiguous(memory_format=torch.channels_last).to(dtype)
        forms = {
            "limit": products_alone(batch, dtype),
            "ours": step_of(ours.train(), MomentumSGD(ours.parameters(), OptimConfig(lr=1e-6)), last, y, dtype),
            "as written": step_of(
                theirs, torch.optim.SGD(theirs.parameters(), 1e-6, 0.9, weight_decay=5e-4), x, y, dtype
            ),
        }
        times: dict[str, list[float]] = {form: [] for form in forms}
        for round_ in range(arguments.rounds + 1):
            for form, step in forms.items():
                began = time.perf_counter()
                step()
                if round_ > 0:  # the first compiles kernels and fetches memory
                    times[form].append(batch / (time.perf_counter() - began))
        results[name] = {
            form: {"median": statistics.median(t), "slowest": min(t), "fastest": max(t)} for form, t in times.items()
        }
        for form, found in results[name].items():
            share = found["median"] / results[name]["limit"]["median"]
            print(
                f"{name:9} batch {batch}: {form:10} {found['median']:6.1f} pictures/s "
                f"({found['slowest']:.1f} to {found['fastest']:.1f}), {share:.0%} of the limit"
            )
    machine = {"processor": platform.processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    print(json.dumps({"date": time.strftime("%Y-%m-%d"), "batch": batch, "machine": machine, "results": results}))


if __name__ == "__main__":
    main()
