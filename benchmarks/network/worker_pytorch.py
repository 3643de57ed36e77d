"""The paper's network in PyTorch alone, in a process of its own (`separate_process.py`).

    python -m benchmarks.network.worker_pytorch training float32 2 eager FOLDER

Arguments: `training` or `inference`, the dtype, the number of threads, `eager` or `compiled`, and a folder with
`pytorch.npz`, `images.npy` and `labels.npy` (`frameworks.py` writes them). `compiled` goes through `torch.compile`, in
channels last with the normalisation's sums as a 1x1 convolution, and in inference with frozen weights. The logits
without dropout go to `logits.npy` in the folder.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from torch.nn import functional as F

from benchmarks.network.torch_nn import copy_parameters, torch_nn_network
from benchmarks.separate_process import serve


def prepare() -> tuple[dict[str, Any], Any]:
    task, dtype_name, threads, variant, name = sys.argv[1:]
    torch.set_num_threads(int(threads))
    folder, dtype, compiled = Path(name), getattr(torch, dtype_name), variant == "compiled"
    layout = torch.channels_last if compiled else torch.contiguous_format
    torch.manual_seed(0)
    with np.load(folder / "pytorch.npz") as weights:
        values = [torch.from_numpy(weights[name]) for name in weights]
    network = copy_parameters(torch_nn_network(norm_by_convolution=compiled), values)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]
    x = torch.from_numpy(np.load(folder / "images.npy")).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    y = torch.from_numpy(np.load(folder / "labels.npy"))
    description = {"version": torch.__version__, "parameters": sum(p.numel() for p in network.parameters())}

    def logits(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return network(x).float()

    if task == "training":
        with torch.inference_mode():
            network.eval()
            np.save(folder / "logits.npy", logits(x).numpy())
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), 1e-6, 0.9, weight_decay=5e-4)
        network = torch.compile(network) if compiled else network

        def step() -> float:
            loss = F.cross_entropy(logits(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return description, step

    network.eval()
    if compiled:
        torch._inductor.config.freezing = True
        network, x = torch.compile(network.to(dtype)), x.to(dtype)  # type: ignore[call-overload]

    def infer() -> np.ndarray:
        with torch.no_grad():  # freezing asks for it
            return (network(x).float() if compiled else logits(x)).numpy()

    np.save(folder / "logits.npy", infer())
    return description, infer


if __name__ == "__main__":
    serve(prepare)
