"""Training throughput from batch 32 to 512, and with batches that the loader delivers.

    python -m benchmarks.network.batch_sizes --store stores/imagenette --out results.json

- training step: `AlexNet` (paper) as `alexnet train` runs it, on one repeated batch of each size
- fed by the loader (with `--store`): steps of 128 images from the store, and steps on one of its batches repeated

Prints images per second: the median, and the slowest and fastest round.
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alexnet.bench.feeding import feeding
from alexnet.bench.network import new_state, step_of, training_step
from alexnet.config import NetworkConfig
from alexnet.model.cpu import kernels
from alexnet.networks import NETWORKS
from benchmarks.comparison import Contender, Section, add_results, compare, options, print_flatness

CPU = torch.device("cpu")
FED_BATCH = 128
WARM_UP = 5  # steps before the first round: the first ones allocate memory


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--store", type=Path, help="also train from this store")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--width", type=float, default=1.0, help="of the network, as a fraction of the paper's")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32, 64, 128, 256, 512])
    arguments = parser.parse_args()
    kernels.reuse_memory()  # as `alexnet train` does
    results: dict[str, Any] = {}
    for name in arguments.dtypes:
        dtype = getattr(torch, name)
        results[f"training step, {name}"] = repeated_batches(f"training step, {name}", dtype, arguments)
        if arguments.store:
            results[f"fed by the loader, {name}"] = fed_by_the_loader(name, dtype, arguments)
    add_results(arguments.out, Section("batch sizes", arguments.rounds, results, ["torch", "pyarrow"]))


def paper(width: float) -> NetworkConfig:
    return dataclasses.replace(NETWORKS["paper"].config, width=width)


def repeated_batches(title: str, dtype: torch.dtype, arguments: argparse.Namespace) -> dict[str, Any]:
    """All batch sizes in turn; every round handles as many images with each."""
    largest = max(arguments.batch_sizes)
    contenders: dict[str, Contender] = {}
    for batch in arguments.batch_sizes:
        step = training_step(paper(arguments.width), batch, dtype, CPU)
        repeated(step, WARM_UP)()
        times = largest // batch
        contenders[f"batch {batch}"] = repeated(step, times), times * batch
    rates = compare(title, contenders, arguments.rounds)
    print_flatness(rates)
    return rates


def repeated(work: Callable[[], object], times: int) -> Callable[[], None]:
    def several() -> None:
        for _ in range(times):
            work()

    return several


def fed_by_the_loader(name: str, dtype: torch.dtype, arguments: argparse.Namespace) -> dict[str, Any]:
    config = paper(arguments.width)
    step = step_of(new_state(config, CPU), dtype)
    result = feeding(step, arguments.store, config, FED_BATCH, dtype, CPU, arguments.rounds)
    fed, repeated = result["fed_images_per_second"], result["repeated_images_per_second"]
    print(f"\nfed by the loader, {name}: {fed:.1f} /s, one batch repeated {repeated:.1f} /s: {fed / repeated:.1%}")
    return result


if __name__ == "__main__":
    main()
