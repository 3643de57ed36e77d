"""Errors and loss on the validation split during a training: the centre view of every image."""

from typing import NamedTuple

import torch
from torch.nn import functional as F

from alexnet.data import loader
from alexnet.data.store.reader import StoreSplit
from alexnet.model.cpu import kernels
from alexnet.model.input import views
from alexnet.model.network import AlexNet
from alexnet.training import health
from alexnet.training.device import precision
from alexnet.training.metrics import errors, top_k_credit
from alexnet.training.ranks import Ranks
from alexnet.training.state import Setup


class Validation(NamedTuple):
    """What an evaluation found, on the images of all ranks."""

    metrics: dict[str, float]
    """`top1_error`, `top5_error` (fractions) and `loss`."""
    dead: dict[str, float]
    """Fraction of dead units of each ReLU, by its name (`health.dead_units`)."""


@torch.no_grad()
def validate(network: AlexNet, split: StoreSplit, setup: Setup, here: Ranks) -> Validation:
    """Evaluate `network` on the centre view of every image. Each rank evaluates its part; all get the same result."""
    network.eval()
    config, device = setup.config, setup.device
    rows = here.part(len(split))
    batches = loader.in_order(split, config.batch_size, config.workers, rows, kernels.threads(device))
    sums = {"top1": 0.0, "top5": 0.0, "loss": 0.0}
    dead = dict.fromkeys(health.relus(network), 0.0)  # also of a rank that has no image
    for images, labels, first in batches:
        x = views(images.to(device), setup.mean, config.network.input_size, 1)[:, 0]
        with precision(device, setup.dtype):
            if first == rows.start:
                dead = health.dead_units(network, x)
            logits = network(x).float().cpu()  # [B, classes]
        sums["loss"] += F.cross_entropy(logits, labels, reduction="sum").item()
        for k in (1, 5):
            sums[f"top{k}"] += top_k_credit(logits, labels, k).sum().item()
    top1, top5, loss = (mean * here.replicas for mean in here.mean(list(sums.values())))
    dead = dict(zip(dead, here.mean(list(dead.values())), strict=True))
    return Validation(errors({1: top1, 5: top5}, len(split)) | {"loss": loss / len(split)}, dead)
