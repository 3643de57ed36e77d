"""This project's training step and inference on a GPU.

python -m benchmarks.gpu.ours OUT.json
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from alexnet.bench.limits import operations
from alexnet.bench.network import STEPS_AT_ONCE, cuda_steps, images, new_state
from alexnet.model.cuda import plan, stage
from alexnet.model.cuda.inference import GraphNetwork
from alexnet.model.cuda.stage import Stages
from alexnet.model.network import AlexNet
from alexnet.networks import network as named
from alexnet.training.cuda_step import CudaStep
from benchmarks.gpu.timing import BF16, card, in_graph, kernel_times, limits, milliseconds

BEGAN = time.monotonic()
DEVICE = torch.device("cuda")
TRAINED = [  # network, batch, dtype
    ("paper", 128, BF16),
    ("paper", 1024, BF16),
    ("original", 128, BF16),
    ("paper", 256, BF16),
    ("paper", 128, torch.float32),
    ("original", 1024, BF16),
]


def main() -> None:
    out = Path(sys.argv[1])
    results: dict[str, Any] = {"machine": card()}
    sections = {
        "limits": limits,
        "training": lambda: [training(*each) for each in TRAINED],
        "inference": lambda: [inference(batch) for batch in (1, 64, 1024)],
        "kernels": lambda: {name: kernels(name) for name in ("paper", "original")},
        "cudnn": cudnn,
        "passes": passes,
    }
    for name, section in sections.items():
        try:
            results[name] = section()
        except Exception as error:  # the sections after it are measured all the same
            results[name] = {"error": repr(error)}
        out.write_text(json.dumps(results, indent=1))
        print(f"{time.monotonic() - BEGAN:.0f} s: {name} {json.dumps(results[name])[:1500]}", flush=True)


def training(name: str, batch: int, dtype: torch.dtype) -> dict[str, Any]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    work = cuda_steps(new_state(named(name).config, DEVICE), batch, dtype, DEVICE)
    taken = milliseconds(work, times=2 if batch <= 256 else 1) / STEPS_AT_ONCE
    result = {
        "network": name,
        "batch": batch,
        "dtype": str(dtype),
        "milliseconds": taken,
        "images_per_second": batch / taken * 1000,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
    }
    print(f"{time.monotonic() - BEGAN:.0f} s: {result}", flush=True)
    return result


def cudnn() -> list[dict[str, Any]]:
    """What cuDNN's choice of convolutions costs: the first that suits, as in training, or the fastest of all."""
    rows = []
    for flags in ({"benchmark": True, "deterministic": True}, {"benchmark": True, "deterministic": False}):
        before = dict(plan.CUDNN)
        plan.CUDNN.update(flags)
        rows.append(flags | {"images_per_second": training("paper", 128, BF16)["images_per_second"]})
        plan.CUDNN.update(before)
    return rows


def inference(batch: int) -> dict[str, Any]:
    config = named("paper").config
    network = AlexNet(config).to(DEVICE).eval()
    fast = GraphNetwork(network, BF16, batch, DEVICE)
    x = images(batch, config, DEVICE)
    with torch.inference_mode():
        taken = milliseconds(lambda: fast(x))
    flops = operations(config, training=False) * batch / taken / 1e9
    return {"batch": batch, "milliseconds": taken, "images_per_second": batch / taken * 1000, "teraflops": flops}


def kernels(name: str) -> list[dict[str, Any]]:
    """The kernels of one training step of batch 128."""
    work = cuda_steps(new_state(named(name).config, DEVICE), 128, BF16, DEVICE)
    (step,) = (cell.cell_contents for cell in work.__closure__ or () if isinstance(cell.cell_contents, CudaStep))
    assert step.graph is not None
    return kernel_times(step.graph.replay)


def passes() -> list[dict[str, Any]]:
    """Bias, ReLU, normalisation and pooling after conv1 and conv2 for 128 images: bytes moved, and microseconds in each
    of the shapes of a program; the fastest is taken from then on."""
    return [one_pass(48, 55), one_pass(128, 27)]


def one_pass(channels: int, size: int, batch: int = 128) -> dict[str, Any]:
    out, wide = (size - 1) // 2, channels > 64
    x = torch.randn(batch, size, size, 2 * channels, device=DEVICE, dtype=BF16)
    y, dx = torch.empty(batch, out, out, 2 * channels, device=DEVICE, dtype=BF16), torch.empty_like(x)
    bias = torch.randn(2 * channels, device=DEVICE)
    index = torch.empty(2, batch, out, out, channels, device=DEVICE, dtype=stage.index_dtype(x))
    xs, ys, dxs = (list(t.chunk(2, 3)) for t in (x, y, dx))
    stages = Stages("first", 2, 1e-4, 2.0, 3, 2)

    def forward() -> None:
        stage.forward(xs, bias, ys, index, stages)

    def backward() -> None:
        stage.backward(xs, bias, ys, index, dxs, stage.bias_parts(xs), stages)

    times = {}
    for what, work, setting in (("forward", forward, "LINES"), ("backward", backward, "BACKWARD")):
        taken = {}
        for shape in CANDIDATES[wide][what]:
            choose(setting, wide, shape)
            taken[shape] = guarded(work)
        choose(setting, wide, min(taken, key=lambda shape: taken[shape]))
        times[what] = {str(shape): t for shape, t in taken.items()}
    moved = x.nbytes + y.nbytes + index.nbytes
    result = {"channels": channels, "forward_bytes": moved, "backward_bytes": moved + x.nbytes, **times}
    print(f"{time.monotonic() - BEGAN:.0f} s: {result} {stage.LINES} {stage.BACKWARD}", flush=True)
    return result


def choose(setting: str, wide: bool, shape: tuple[int, ...]) -> None:
    both = list(getattr(stage, setting))
    both[wide] = shape
    setattr(stage, setting, tuple(both))


def guarded(work: Any) -> float:
    try:
        return 1000 * in_graph(work, 10)
    except Exception as error:
        print(f"failed: {error!r:.200}")
        return float("inf")


CANDIDATES = {
    False: {
        "forward": [(16, 4, 5), (16, 4, 9), (16, 2, 5), (32, 4, 5), (32, 8, 5)],
        "backward": [(16, 4, 1056, None), (16, 4, 528, None), (16, 2, 1056, None), (32, 8, 528, None)],
    },
    True: {
        "forward": [(16, 8, 3), (16, 8, 5), (16, 4, 3), (32, 8, 3)],
        "backward": [(16, 8, 528, 128), (16, 8, 264, 128), (16, 8, 528, None), (16, 4, 528, None), (32, 16, 264, None)],
    },
}
"""Shapes of a program: see `stage.LINES` and `stage.BACKWARD`."""


if __name__ == "__main__":
    main()
