"""This project's training step and inference on a GPU.

    python -m benchmarks.gpu.ours OUT.json
    python -m benchmarks.gpu.ours compile NETWORK DTYPE

The second form runs a step and an inference once, so that their kernels lie in Triton's cache.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.bench.limits import operations
from alexnet.bench.network import STEPS_AT_ONCE, cuda_steps, images, new_state
from alexnet.model.cuda import plan, stage
from alexnet.model.cuda.inference import GraphNetwork
from alexnet.model.cuda.loss import cross_entropy
from alexnet.model.cuda.operations import Convolution, FullyConnected, Operation, Pass
from alexnet.model.cuda.stage import Stages
from alexnet.model.layers import layers_of
from alexnet.model.network import AlexNet
from alexnet.networks import network as named
from alexnet.training.cuda_step import CudaStep
from benchmarks.gpu.timing import BF16, card, in_graph, kernel_times, limits, milliseconds

BEGAN = time.monotonic()
DEVICE = torch.device("cuda")
NETWORKS, BATCHES = ("paper", "original"), (128, 1024, 256)


def main() -> None:
    if sys.argv[1] == "compile":
        compiled(sys.argv[2], getattr(torch, sys.argv[3]))
        return
    out = Path(sys.argv[1])
    results: dict[str, Any] = {"machine": card(), "training": [], "inference": []}
    bf16, float32 = ([(training, n, b, dtype) for n in NETWORKS for b in BATCHES] for dtype in (BF16, torch.float32))
    sections: list[tuple[str, Callable[..., Any], *tuple[Any, ...]]] = [
        ("limits", limits),
        *(("training", *each) for each in bf16),
        *(("inference", inference, batch) for batch in (1, 64, 1024)),
        *(("kernels", kernels, name) for name in NETWORKS),
        *(("parts", lambda name: parts(name, results["limits"]), name) for name in NETWORKS),
        *(("training", *each) for each in float32),
        ("cudnn", cudnn),
        ("passes", passes),
    ]
    for name, section, *arguments in sections:
        try:
            found = section(*arguments)
        except Exception as error:  # what comes after it is measured all the same
            found = {"error": f"{arguments}: {error!r}"[:500]}
        if name in ("training", "inference"):
            results[name].append(found)
        elif name in ("kernels", "parts"):
            results.setdefault(name, {})[arguments[0]] = found
        else:
            results[name] = found
        out.write_text(json.dumps(results, indent=1))
        print(f"{time.monotonic() - BEGAN:.0f} s: {name} {json.dumps(found)[:600]}", flush=True)


def compiled(name: str, dtype: torch.dtype) -> None:
    training(name, 128, dtype, rounds=1)
    for batch in (1, 64):
        inference(batch, name, dtype)


def training(name: str, batch: int, dtype: torch.dtype, rounds: int = 0) -> dict[str, Any]:
    """One row of the table. A round is `STEPS_AT_ONCE` steps: five in bfloat16, and two in float32, which is slow."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work = cuda_steps(new_state(named(name).config, DEVICE), batch, dtype, DEVICE)
    taken = milliseconds(work, times=1, rounds=rounds or (5 if dtype == BF16 else 2)) / STEPS_AT_ONCE
    return {
        "network": name,
        "batch": batch,
        "dtype": str(dtype),
        "milliseconds": taken,
        "images_per_second": batch / taken * 1000,
        "teraflops": operations(named(name).config, training=True) * batch / taken / 1e9,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def cudnn() -> list[dict[str, Any]]:
    """What cuDNN's choice of convolutions costs: the first that suits, as in training, or the fastest of all."""
    rows = []
    for flags in ({"benchmark": True, "deterministic": True}, {"benchmark": True, "deterministic": False}):
        before = dict(plan.CUDNN)
        plan.CUDNN.update(flags)
        rows.append(flags | {"images_per_second": training("paper", 128, BF16)["images_per_second"]})
        plan.CUDNN.update(before)
    return rows


def inference(batch: int, name: str = "paper", dtype: torch.dtype = BF16) -> dict[str, Any]:
    config = named(name).config
    fast = GraphNetwork(AlexNet(config).to(DEVICE).eval(), dtype, batch, DEVICE)
    x = images(batch, config, DEVICE)
    with torch.inference_mode():
        taken = milliseconds(lambda: fast(x))
    flops = operations(config, training=False) * batch / taken / 1e9
    return {"batch": batch, "milliseconds": taken, "images_per_second": batch / taken * 1000, "teraflops": flops}


def step_of(name: str, dtype: torch.dtype = BF16, batch: int = 128) -> CudaStep:
    """A training step that has run some times."""
    work = cuda_steps(new_state(named(name).config, DEVICE), batch, dtype, DEVICE)
    work()
    (step,) = (cell.cell_contents for cell in work.__closure__ or () if isinstance(cell.cell_contents, CudaStep))
    return step


def kernels(name: str) -> list[dict[str, Any]]:
    """The kernels of one training step of batch 128."""
    graph = step_of(name).graph
    assert graph is not None
    return kernel_times(graph.replay)


def parts(
    name: str, card_limits: dict[str, float], dtype: torch.dtype = BF16, batch: int = 128
) -> list[dict[str, Any]]:
    """The operations of a step by themselves: microseconds, and the least that their arithmetic, at the speed of the
    card's convolution or matrix multiplication, and their bytes, at that of its copy, would take."""
    config, made = named(name).config, step_of(name, dtype, batch).plan
    flops = {layer.name: 2.0 * batch * layer.multiply_adds for layer in layers_of(config) if layer.multiply_adds}
    names = [each.rpartition(".")[0] for each, _ in AlexNet(config).to("meta").named_parameters()]
    layer_of = {id(parameter): layer for parameter, layer in zip(made._parameters, names, strict=True)}
    rows: list[dict[str, Any]] = []

    def measured(what: str, work: Callable[[], object], operations: float, moved: float, rate: str) -> None:
        least = max(operations / card_limits[rate] / 1e6, moved / card_limits["copy_gigabytes_per_second"] / 1e3)
        rows.append({"part": what, "microseconds": 1000 * in_graph(work), "floor_microseconds": least})

    with torch.no_grad(), torch.backends.cudnn.flags(**plan.CUDNN):
        x, given = [made._x], []
        for operation in made.operations:
            given.append(x)
            x = operation.forward(x)
        cross_entropy(x[0], made.numbers, made.slot, made._logits_gradient, made._each)
        g = [made._logits_gradient]
        for operation, x in reversed(list(zip(made.operations, given, strict=True))):
            layer, rate = layer_of.get(id(parameter_of(operation)), ""), "matmul_teraflops"
            if isinstance(operation, Convolution):
                rate = "convolution_teraflops"
            what = f"{type(operation).__name__} {layer}".strip()
            arithmetic = flops.get(layer, 0.0) if isinstance(operation, Convolution | FullyConnected) else 0.0
            weight, kept = size_of(weights_of(operation)), size_of(kept_by(operation))
            y = operation.forward(x)
            moved = size_of(x) + size_of(y) + weight + kept
            measured(f"{what}, forward", lambda at=operation, x=x: at.forward(x), arithmetic, moved, rate)
            measured_g = list(g)
            moved = size_of(g) + 2 * size_of(x) + weight + kept
            backward = arithmetic * (2 if isinstance(operation, Convolution) and not operation.first else 1)
            measured(f"{what}, backward", lambda at=operation, g=measured_g: at.backward(g), backward, moved, rate)
            g = operation.backward(measured_g)
            due = [p for p in made._parameters if p.update is not None]
            if due:
                updates = [p.update for p in due if p.update is not None]
                moved = sum(4 * size_of([p.w]) for p in due) + weight
                fused = arithmetic if isinstance(operation, FullyConnected) else 0.0
                measured(f"{what}, update", lambda updates=updates: [u() for u in updates], fused, moved, rate)
            for p in due:
                p.update = None
    return rows


def parameter_of(operation: Operation) -> object:
    weight = getattr(operation, "weight", None) or getattr(operation, "bias", None)
    return getattr(weight, "parameter", weight)


def weights_of(operation: Operation) -> list[Tensor]:
    if isinstance(operation, Convolution):
        return [operation.weight.operand]
    return [operation.operand] if isinstance(operation, FullyConnected) else []


def kept_by(operation: Operation) -> list[Tensor]:
    return [operation.index] if isinstance(operation, Pass) and operation.index is not None else []


def size_of(tensors: list[Tensor]) -> float:
    """Bytes."""
    return float(sum(each.nbytes for each in tensors))


def passes() -> dict[str, Any]:
    """Bias, ReLU, normalisation and pooling after conv1 and conv2 for 128 images: bytes moved, and microseconds of
    both in each of the shapes of a program; the fastest is taken from then on."""
    both = [one_pass(48, 55), one_pass(128, 27)]
    result: dict[str, Any] = {"bytes": [moved for moved, _, _ in both]}
    for direction, (names, shapes) in enumerate(CANDIDATES.values(), start=1):
        taken = {}
        for shape in shapes:
            choose(names, shape)
            taken[shape] = [guarded(each[direction]) for each in both]
        choose(names, min(taken, key=lambda shape: sum(taken[shape])))
        result[", ".join(names)] = {str(shape): times for shape, times in taken.items()}
    result["chosen"] = {name: getattr(stage, name) for names, _ in CANDIDATES.values() for name in names}
    return result


def one_pass(channels: int, size: int, batch: int = 128) -> tuple[dict[str, int], Callable, Callable]:
    """Bytes moved forward and backward, and what computes each."""
    out = (size - 1) // 2
    x = torch.randn(batch, size, size, 2 * channels, device=DEVICE, dtype=BF16)
    y, dx = torch.empty(batch, out, out, 2 * channels, device=DEVICE, dtype=BF16), torch.empty_like(x)
    bias = torch.randn(2 * channels, device=DEVICE)
    index = torch.empty(2, batch, out, out, channels, device=DEVICE, dtype=torch.uint8)
    xs, ys, dxs = (list(t.chunk(2, 3)) for t in (x, y, dx))
    stages = Stages("first", 2, 1e-4, 2.0, 3, 2)

    def forward() -> None:
        stage.forward(xs, bias, ys, index, stages)

    def backward() -> None:
        stage.backward(xs, bias, ys, index, dxs, stage.bias_parts(xs, stages), stages)

    moved = x.nbytes + y.nbytes + index.nbytes
    return {"forward": moved, "backward": moved + x.nbytes}, forward, backward


def choose(names: tuple[str, ...], values: tuple[int, ...]) -> None:
    for name, value in zip(names, values, strict=True):
        setattr(stage, name, value)


def guarded(work: Any) -> float:
    try:
        return 1000 * in_graph(work, 10)
    except Exception as error:
        print(f"failed: {error!r:.200}")
        return float("inf")


CANDIDATES = {
    "forward": (("LINES",), [(7,), (5,), (9,), (14,), (27,)]),
    "backward": (
        ("PROGRAMS", "REGISTERS"),
        [(2112, 128), (1056, 128), (4224, 128), (20000, 128), (2640, 96), (1584, 168)],
    ),
}
"""Settings of `stage` and what to try for them. With 128 registers a processor has room for 16 programs of one warp
each, with 96 for 20, and with 168 for 12."""


if __name__ == "__main__":
    main()
