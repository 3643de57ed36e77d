"""Where the time of a training step goes: each part beside what its multiply-adds take at the machine's limit.

    python -m benchmarks.network.parts --input-size 112 --width 0.5

The limit is that of `alexnet bench train`: the multiply-adds at the speed of a 3x3 convolution of 512 channels. "Python
and autograd" is what a step takes beyond the operations that it consists of. Prints milliseconds for a step; of each
operation, the convolution and the whole step the fastest of all rounds counts.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet.bench import limits
from alexnet.bench.network import changed, training_step
from alexnet.config import NetworkConfig
from alexnet.model.cpu import kernels
from alexnet.model.layers import layers_of
from benchmarks.comparison import Section, add_results, options

CPU = torch.device("cpu")
CONNECTED, LOCAL = "fully connected: forward, gradient of the input", "unshared kernels"
UPDATE = "fully connected: gradient of the weights, and update"
OTHER_UPDATE = "update of the other layers"
MAPS, REST, PYTHON = "ReLU, normalisation, pooling", "dropout, loss, copies", "Python and autograd"


def main() -> None:
    parser = options(__doc__, rounds=20)
    parser.add_argument("--network", default="paper")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--width", type=float)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kernels.reuse_memory()  # as `alexnet train` does
    config, dtype = changed(arguments.network, arguments.input_size, arguments.width), getattr(torch, arguments.dtype)
    found = parts(config, arguments.batch_size, dtype, arguments.rounds)
    name = f"{arguments.network}, {config.input_size} pixels, width {config.width:g}, {arguments.dtype}"
    whole = sum(found["milliseconds"].values())
    print(f"{name}, {arguments.threads} threads: {arguments.batch_size / whole * 1000:.0f} images/s")
    print("| part | at the limit | measured | of the step |\n|---|---|---|---|")
    for part, taken in found["milliseconds"].items():
        limit = found["limit"].get(part, 0.0)
        print(f"| {part} | {limit:.1f} | {taken:.1f} | {taken / whole:.0%} |")
    print(f"| whole step | {sum(found['limit'].values()):.1f} | {whole:.1f} | |")
    add_results(arguments.out, Section("parts of a step", arguments.rounds, {name: found}, ["torch"]))


def parts(config: NetworkConfig, batch: int, dtype: torch.dtype, rounds: int) -> dict[str, dict[str, float]]:
    """`milliseconds` of a training step by part, and the `limit` of those parts that have one."""
    step = training_step(config, batch, dtype, CPU)
    work, operations = limits.convolution(dtype, CPU)
    for _ in range(3):
        step()
    wholes, speeds = [], []
    for _ in range(rounds):
        wholes.append(seconds(step))
        speeds.append(operations / seconds(work))
    taken = taken_by_parts(step, config, rounds)
    taken[PYTHON] = max(0.0, min(wholes) - sum(taken.values()))
    milliseconds = {part: 1000 * taken[part] for part in sorted(taken, key=position)}
    return {"milliseconds": milliseconds, "limit": limits_of(config, batch, max(speeds))}


def position(part: str) -> tuple[int, str]:
    """The order of the parts: convolutions as they follow each other, then the others."""
    last = [LOCAL, CONNECTED, UPDATE, OTHER_UPDATE, MAPS, REST, PYTHON]
    return (last.index(part) + 1, "") if part in last else (0, part)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def taken_by_parts(step: Callable[[], object], config: NetworkConfig, rounds: int) -> dict[str, float]:
    """Seconds of a step in operations, by part. Each operation counts with its fastest time over `rounds` steps."""
    watch, call = Watch(config), kernels.call
    kernels.call = watch.kernel(call)
    try:
        for _ in range(rounds):
            watch.times.append([])
            with watch:
                step()
    finally:
        kernels.call = call
    taken: dict[str, float] = defaultdict(float)
    for same in zip(*watch.times, strict=True):
        (part,) = {part for part, _ in same}
        taken[part] += min(duration for _, duration in same)
    return taken


class Watch(TorchDispatchMode):
    """Times the operations of steps, and the kernels that are called outside of operations."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.convolutions = {layer.weight_shape: layer.name for layer in layers_of(config) if layer.kind == "conv"}
        self.times: list[list[tuple[str, float]]] = []
        self._inside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        part = self.part(str(func), [tuple(each.shape) for each in args if isinstance(each, Tensor)])
        self._inside, began = True, time.perf_counter()
        result = func(*args, **(kwargs or {}))
        self.times[-1].append((part, time.perf_counter() - began))
        self._inside = False
        return result

    def kernel(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`kernels.call`, timed where it is not within an operation: the update."""

        def timed(name: str, *arguments: Any) -> Any:
            if self._inside:
                return call(name, *arguments)
            began = time.perf_counter()
            result = call(name, *arguments)
            self.times[-1].append((UPDATE if name == "linear_update" else OTHER_UPDATE, time.perf_counter() - began))
            return result

        return timed

    def part(self, operation: str, shapes: list[tuple[int, ...]]) -> str:
        """The part that an operation belongs to, by its name and the shapes of its tensors."""
        if "conv" in operation:  # of another shape are conv1's weights after space-to-depth
            return next((name for shape, name in self.convolutions.items() if shape in shapes), "conv1")
        if any(word in operation for word in ("linear", ".mm", ".addmm")):
            return CONNECTED
        if "bmm" in operation or "windows" in operation:
            return LOCAL
        maps = ("stage", "lrn", "pool", "relu", "threshold", "norm")
        return MAPS if any(word in operation for word in maps) else REST


def limits_of(config: NetworkConfig, batch: int, speed: float) -> dict[str, float]:
    """Milliseconds of the parts at `speed` operations a second."""
    found: dict[str, float] = defaultdict(float)
    for number, layer in enumerate(each for each in layers_of(config) if each.multiply_adds):
        once = 2000 * layer.multiply_adds * batch / speed
        if layer.kind == "fc":
            found[CONNECTED] += 2 * once
            found[UPDATE] += once
        else:
            found[layer.name if layer.kind == "conv" else LOCAL] += (3 if number else 2) * once
    return dict(found)


if __name__ == "__main__":
    main()
