"""What a rank does in the tests of towers: some steps of narrow networks; losses and whole weights to files.

torchrun --nproc-per-node N towers_worker.py FOLDER PARALLEL NETWORK/DTYPE ...
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from alexnet.config import OptimConfig, TrainConfig
from alexnet.model.towers import bytes_exchanged, whole_values
from alexnet.networks import network
from alexnet.training import ranks
from alexnet.training.state import build, parallel_model
from alexnet.training.step import update
from alexnet.training.update import MomentumSGD

BATCH, SIZE, CLASSES, STEPS = 8, 67, 7, 20
CPU = torch.device("cpu")


def main(folder: Path, parallel: str, cases: list[str]) -> None:
    """Train each case on noise that is the same whatever the number of ranks."""
    torch.set_num_threads(1)
    with ranks.joined(parallel, CPU, BATCH) as here:
        for case in cases:
            found, tensors = train(here, *case.split("/"))
            if here.is_first:
                target = folder / case
                target.mkdir(parents=True)
                (target / "found.json").write_text(json.dumps(found))
                save_file(tensors, target / "weights.safetensors")


def train(here: ranks.Ranks, name: str, dtype_name: str) -> tuple[dict, dict[str, torch.Tensor]]:
    """Losses, bytes sent and expected, and the whole weights and velocities of one case."""
    dtype = getattr(torch, dtype_name)
    start = {"initial_std": (0.02, *[0.1] * 7), "initial_bias": (0, 1, 0, 1, 1, 1, 1, 0)}
    narrow = dataclasses.replace(network(name).config, input_size=SIZE, classes=CLASSES, width=1 / 12, **start)
    config = TrainConfig(batch_size=BATCH, network=narrow, optim=OptimConfig(lr=0.0005, bias_lr_factor=2))
    net, exchange = build(config, CPU, here)
    model = parallel_model(net.to(dtype), config, here)
    optimizer = MomentumSGD(net.named_parameters(), config.optim)
    rows, losses = here.part(BATCH), []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        x = (torch.randn(BATCH, 3, SIZE, SIZE, generator=generator) * 60).to(dtype)
        y = torch.randint(0, CLASSES, (BATCH,), generator=generator)
        # Dropout masks. With some seeds float32 rounding moves the maximum of a pooling window to another pixel, which
        # then trains conv1 and conv2; not with these.
        torch.manual_seed(2000 + step)
        loss, _ = update(model, optimizer, x[rows].contiguous(memory_format=torch.channels_last), y[rows], dtype)
        losses += here.mean([loss])
    expected = STEPS * bytes_exchanged(net, BATCH // here.replicas, dtype.itemsize)
    found = {"losses": losses, "sent": exchange.sent if exchange else 0, "expected": expected}
    tensors = whole_values(net, net.state_dict().items(), exchange)
    velocity = ((n, optimizer.state[w]["velocity"]) for n, w in net.named_parameters())
    tensors |= {f"velocity of {n}": v for n, v in whole_values(net, velocity, exchange).items()}
    return found, {n: v.contiguous() for n, v in tensors.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
