"""Weights and state of a checkpoint, with checksums that match the damaged file and with those of the intact one."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from alexnet.training import checkpoint
from alexnet.training.checkpoint_file import State
from campaigns.fuzz.format import Format

STATE: State = {
    "best_step": 3,
    "top1_error": 0.5,
    "top5_error": 0.25,
    "step": 3,
    "epoch": 1.0,
    "schedule": {"drops": 0, "best": None, "waited": 0, "finished": False},
    "store": "",
    "run": "",
    "settings": {"seed": 0},
}


def examples() -> list[bytes]:
    tensors = {
        "0.weight": torch.zeros(4, 3, 2, 2),
        "0.bias": torch.ones(4),
        "1.weight": torch.ones(2, 4),
        "1.bias": torch.ones(2),
    }
    return [save(tensors), save({"x": torch.ones(3, dtype=torch.bfloat16)}), json.dumps(STATE, indent=2).encode()]


def read(data: bytes, folder: Path) -> None:
    run, network = folder / "run", nn.Sequential(nn.Conv2d(3, 4, 2), nn.Linear(4, 2))
    is_state = data[:1] in (b"{", b"[")
    if not run.exists():
        weights = network.state_dict()
        checkpoint.save(run, 3, weights, {name: torch.zeros_like(w) for name, w in weights.items()}, STATE)
    path = checkpoint.checkpoints(run)[0].path
    intact = {name: (path / name).read_bytes() for name in (checkpoint.STATE, checkpoint.WEIGHTS, checkpoint.SUMS)}
    damaged = checkpoint.STATE if is_state else checkpoint.WEIGHTS
    (path / damaged).write_bytes(data)
    if data[-1:] > b"0":  # else the checksum refuses it and no reader sees the damage
        sums = intact[checkpoint.SUMS].decode().splitlines()
        kept = [line for line in sums if not line.endswith(f"  {damaged}")]
        lines = [*kept, f"{hashlib.sha256(data).hexdigest()}  {damaged}"]
        (path / checkpoint.SUMS).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    try:
        found = checkpoint.find(run, "last")
        assert isinstance(found.state(), dict)
        checkpoint.load_weights(network, found)
    finally:
        for name, content in intact.items():
            (path / name).write_bytes(content)


FORMAT = Format("checkpoint", 6, examples, read)
