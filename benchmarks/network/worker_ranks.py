"""Training steps of one rank, timed, with the bytes that all ranks sent; `communication.py` starts it with torchrun.

    torchrun --nproc-per-node 2 -m benchmarks.network.worker_ranks towers 1.0 32 6 bfloat16 OUT.json

Arguments: how the ranks share the work (`none`, `data`, `towers` or `both`), the width of the network as a fraction of
the paper's, the batch size, the number of steps, the dtype, and the file that the first rank writes.
"""

import json
import sys
import time
from pathlib import Path

import torch

from alexnet.config import NetworkConfig, OptimConfig, TrainConfig
from alexnet.model.cpu import kernels
from alexnet.model.towers import bytes_exchanged
from alexnet.training import ranks
from alexnet.training.state import start
from alexnet.training.step import update

SENT = Path("/sys/class/net/lo/statistics/tx_bytes")
"""Bytes sent over the loopback device, as the Linux kernel counts them: TCP's own included."""
CPU = torch.device("cpu")
WARM_UP = 2  # steps that are not counted


def main() -> None:
    way, width, batch, steps, dtype_name, out = sys.argv[1:]
    kernels.reuse_memory()
    network = NetworkConfig(width=float(width))
    config = TrainConfig(network=network, batch_size=int(batch), optim=OptimConfig(lr=1e-6))
    dtype = getattr(torch, dtype_name)
    with ranks.joined(way, CPU, config.batch_size) as here:
        state = start(config, CPU, here)
        rows = here.part(config.batch_size)
        count = rows.stop - rows.start
        x = torch.randn(count, 3, 224, 224).to(dtype).contiguous(memory_format=torch.channels_last)
        y = torch.randint(0, 1000, (count,))

        for _ in range(WARM_UP):
            update(state.model, state.optimizer, x, y, dtype)
        here.mean([0.0])  # waits for the others
        before, began = int(SENT.read_text()), time.perf_counter()
        for _ in range(int(steps)):
            update(state.model, state.optimizer, x, y, dtype)
        here.mean([0.0])
        seconds, after = time.perf_counter() - began, int(SENT.read_text())
        if here.is_first:
            gradients = 4 * sum(p.numel() for p in state.network.parameters()) * 2 * (here.replicas - 1) / here.replicas
            activations = bytes_exchanged(state.network, count, dtype.itemsize) if state.exchange else 0
            found = {
                "ranks": here.count,
                "threads": torch.get_num_threads(),
                "dtype": dtype_name,
                "batch": config.batch_size,
                "images_per_second": int(steps) * config.batch_size / seconds,
                "sent_bytes": (after - before) / int(steps) / here.count,
                "computed_bytes": gradients + activations,
            }
            Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
