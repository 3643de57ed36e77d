"""How long runs take on this machine: from runs that it has made, or from a few training steps."""

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import torch

from alexnet.bench.measure import machine
from alexnet.bench.network import new_state, repeated, step_of
from alexnet.config import NetworkConfig
from alexnet.model.cpu import kernels
from alexnet.reproduce.arms import Data
from alexnet.reproduce.plan import Item, Plan, multiply_adds
from alexnet.reproduce.results import Result
from alexnet.reproduce.scales import Scale
from alexnet.training.device import choose_device, choose_dtype

TRIES = 3
OVERHEAD = 1.15
"""What evaluations and measures add to the time of the training steps."""


class Rates:
    """Multiply-adds per second of training on this machine, by role of the images."""

    def __init__(self, scale: Scale, device: str) -> None:
        self.scale, self.device = scale, choose_device(device)
        self._measured: dict[Data, float] = {}
        self._machine = _without_date(machine(self.device))

    def seconds(self, item: Item) -> float:
        """Seconds that a run takes."""
        return OVERHEAD * item.cost / self.of(item.role)

    def seconds_left(self, plan: Plan) -> float:
        """Seconds that the missing runs of this share take."""
        self.learn(list(plan.evidence.done.values()))
        return sum(self.seconds(item) for item in plan.missing() if item.share == plan.share)

    def learn(self, results: Sequence[Result]) -> None:
        """Take the rate from runs that this machine has made."""
        for role in self.scale.bases:
            here = [
                result["images_per_second"] * result["multiply_adds"]
                for result in results
                if result["data"]["role"] == role
                and result["images_per_second"]
                and _without_date(result["machine"]) == self._machine
            ]
            if here:
                self._measured[role] = median(here)

    def of(self, role: Data) -> float:
        """Multiply-adds per second, forward, of training on the images of a role."""
        if role not in self._measured:
            base = self.scale.bases[role]
            self._measured[role] = probe(base.network, base.batch_size, self.device)
        return self._measured[role]


def probe(network: NetworkConfig, batch: int, device: torch.device) -> float:
    """Multiply-adds per second, forward, of a few training steps on one batch of noise."""
    if device.type == "cpu":
        kernels.reuse_memory()
    dtype = choose_dtype("auto", device)
    step = repeated(step_of(new_state(network, device), dtype), network, batch, dtype, device)
    step()
    seconds = []
    for _ in range(TRIES):
        began = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return multiply_adds(network) * batch / min(seconds)


def _without_date(machine: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in machine.items() if key != "date"}
