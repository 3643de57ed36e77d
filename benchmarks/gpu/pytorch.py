"""What a user of PyTorch would run instead, on a GPU. Imports nothing of this package.

python -m benchmarks.gpu.pytorch OUT.json
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from benchmarks.gpu.timing import BF16, card, milliseconds
from benchmarks.network.torch_nn import torch_nn_network

BEGAN = time.monotonic()
FORMS = [  # name, batch
    ("as written, float32", 128),
    ("channels last, autocast", 128),
    ("channels last, autocast", 1024),
    ("compiled", 128),
    ("compiled", 1024),
    ("torchvision's alexnet, compiled", 128),
    ("compiled with max-autotune", 128),
]


def main() -> None:
    out = Path(sys.argv[1])
    results: dict[str, Any] = {"machine": card(), "pytorch": []}
    torch.backends.cudnn.benchmark = True
    for name, batch in FORMS:
        torch._dynamo.reset()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            taken = milliseconds(step_of(name, batch), times=10)
            row = {"form": name, "batch": batch, "milliseconds": taken, "images_per_second": batch / taken * 1000}
            row["peak_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        except Exception as error:  # the forms after it are measured all the same
            row = {"form": name, "batch": batch, "error": repr(error)[:300]}
        results["pytorch"].append(row)
        out.write_text(json.dumps(results, indent=1))
        print(f"{time.monotonic() - BEGAN:.0f} s: {row}", flush=True)


def step_of(name: str, batch: int) -> Callable[[], object]:
    """A training step on one repeated batch of images, already on the device as floats."""
    compiled = "compiled" in name
    network: nn.Module = torchvision.models.alexnet() if "torchvision" in name else torch_nn_network(compiled)
    fast = "float32" not in name
    layout = torch.channels_last if fast else torch.contiguous_format
    network = network.to("cuda", memory_format=layout).train()  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, 0.9, weight_decay=5e-4, fused=fast)
    if compiled:
        mode = "max-autotune" if "max-autotune" in name else "reduce-overhead"  # both with CUDA graphs
        network = torch.compile(network, mode=mode)  # type: ignore[assignment]
    x = torch.randn(batch, 3, 224, 224, device="cuda").contiguous(memory_format=layout) * 60
    y = torch.randint(0, 1000, (batch,), device="cuda")

    def step() -> None:
        with torch.autocast("cuda", BF16, enabled=fast):
            loss = F.cross_entropy(network(x).float(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


if __name__ == "__main__":
    main()
