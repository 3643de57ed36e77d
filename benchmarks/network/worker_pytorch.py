"""The paper's network as one writes it with PyTorch, in a process of its own (see `separate_process.py`).

    python -m benchmarks.network.worker_pytorch training float32 2 written FOLDER

`written` or `compiled`: in channels last, the normalisation's sums as a 1x1 convolution, through `torch.compile`, for
testing with frozen weights. FOLDER holds `pytorch.npz`, `images.npy` and `labels.npy`; the logits without dropout go
to `logits.npy` there.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from torch.nn import functional as F

from benchmarks.network.torch_nn import as_written, with_weights
from benchmarks.separate_process import serve


def prepare() -> tuple[dict[str, Any], Any]:
    what, name, threads, form, folder = sys.argv[1:]
    torch.set_num_threads(int(threads))
    dtype, compiled = getattr(torch, name), form == "compiled"
    layout = torch.channels_last if compiled else torch.contiguous_format
    torch.manual_seed(0)
    with np.load(Path(folder, "pytorch.npz")) as weights:
        network = with_weights(as_written(banded=compiled), (torch.from_numpy(weights[name]) for name in weights))
    network = network.to(memory_format=layout)  # type: ignore[call-overload]
    x = torch.from_numpy(np.load(Path(folder, "images.npy"))).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    y = torch.from_numpy(np.load(Path(folder, "labels.npy")))

    def logits(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return network(x).float()

    said = {"version": torch.__version__, "parameters": sum(p.numel() for p in network.parameters())}
    if what == "training":
        with torch.inference_mode():
            network.eval()
            np.save(Path(folder, "logits.npy"), logits(x).numpy())
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), 1e-6, 0.9, weight_decay=5e-4)
        network = torch.compile(network) if compiled else network

        def step() -> float:
            loss = F.cross_entropy(logits(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return said, step
    network.eval()
    if compiled:
        torch._inductor.config.freezing = True
        network, x = torch.compile(network.to(dtype)), x.to(dtype)  # type: ignore[call-overload]

    def answer() -> np.ndarray:
        with torch.no_grad():  # frozen weights ask for it
            return (network(x).float() if compiled else logits(x)).numpy()

    np.save(Path(folder, "logits.npy"), answer())
    return said, answer


if __name__ == "__main__":
    serve(prepare)
