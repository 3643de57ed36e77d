"""A model of a training step on many GPUs, from the shapes of the network. It PREDICTS; nothing of it was measured.

A GPU does its share of the network's multiplications at a given speed. Gradients travel while the backward pass
computes, which is two thirds of the time; activations do not. Up to eight GPUs are in one machine. With more, the two
towers of a copy are in one machine and the copies in different ones.
"""

from dataclasses import dataclass

import torch

from alexnet import AlexNet
from alexnet.model.towers import bytes_exchanged

IN_ONE_MACHINE = 8  # GPUs
BATCH = 128
GPUS = (1, 2, 8, 64, 512)
EXCHANGES = 7  # between two towers in a step: before conv3, fc6, fc7 and fc8, and back before the first three


@dataclass(frozen=True)
class Machine:
    """What is assumed of the GPUs and of what connects them."""

    teraflops: float = 200
    """What a GPU reaches in this network's convolutions and matrix multiplications."""
    gigabytes_per_second_inside: float = 450
    """To a GPU of the same machine."""
    gigabytes_per_second_between: float = 50
    """To a GPU of another machine."""
    latency_microseconds: float = 20
    """Of one exchange."""


@dataclass(frozen=True)
class Cost:
    """What a step takes of one image and one set of parameters."""

    operations: int
    """Per image: forward, weight gradients, and input gradients but for conv1's."""
    activation_bytes: float
    """Per image, that a tower sends."""
    network_bytes: int
    """Gradients of the whole network, float32."""
    tower_bytes: float
    """Gradients of one tower; both have all of fc8."""

    @classmethod
    def of_paper(cls) -> "Cost":
        with torch.device("meta"):
            network = AlexNet("paper")
        layers = network.layers
        whole = 4 * sum(layer.parameters for layer in layers)
        return cls(
            operations=2 * (3 * sum(layer.multiply_adds for layer in layers) - layers[1].multiply_adds),
            activation_bytes=bytes_exchanged(network, 1, 2),
            network_bytes=whole,
            tower_bytes=(whole + 4 * layers[-1].parameters) / 2,
        )


def step_milliseconds(cost: Cost, machine: Machine, gpus: int, batch: int, towers: int) -> float:
    """A step of `gpus` GPUs that hold a copy of the network (`towers` 1) or a tower of one (2) each."""
    copies, latency = gpus // towers, machine.latency_microseconds * 1e-6
    images = batch / copies
    compute = images * cost.operations / towers / (machine.teraflops * 1e12)
    activations = 0.0
    if towers == 2:
        sent = cost.activation_bytes * images
        activations = sent / (machine.gigabytes_per_second_inside * 1e9) + EXCHANGES * latency
    one_machine = gpus <= IN_ONE_MACHINE
    link = machine.gigabytes_per_second_inside if one_machine else machine.gigabytes_per_second_between
    sent = 2 * (copies - 1) / copies * (cost.network_bytes if towers == 1 else cost.tower_bytes)
    gradients = sent / (link * 1e9) + (latency if copies > 1 else 0)
    hidden = 2 / 3 * (compute + activations)
    return 1e3 * (compute + activations + max(0.0, gradients - hidden))


def predict(machine: Machine) -> list[dict]:
    """Milliseconds of a step for 1 to 512 GPUs by each way of sharing, None where it cannot be shared so.

    First with `BATCH` images in all, then with as many for each GPU.
    """
    cost = Cost.of_paper()
    rows = []
    for per_gpu in (False, True):
        for gpus in GPUS:
            batch = BATCH * gpus if per_gpu else BATCH
            steps: dict[str, float | None] = {"data": None, "towers": None, "both": None}
            if batch >= gpus:
                steps["data"] = step_milliseconds(cost, machine, gpus, batch, towers=1)
            if gpus > 1 and batch >= gpus // 2:
                way = "towers" if gpus == 2 else "both"
                steps[way] = step_milliseconds(cost, machine, gpus, batch, towers=2)
            rows.append({"gpus": gpus, "batch": batch, "step_milliseconds": steps})
    return rows
