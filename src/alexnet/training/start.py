"""The network as a training finds it: new, or with the weights of a checkpoint or of another run."""

from pathlib import Path

import torch
from torch import Tensor

from alexnet.config import COLOUR_NOISE, TrainConfig
from alexnet.model.network import AlexNet
from alexnet.model.towers import Exchange, own_part, share_dropout, split_towers
from alexnet.training import checkpoint
from alexnet.training.ranks import Ranks


def build(here: Ranks, config: TrainConfig, device: torch.device) -> tuple[AlexNet, Exchange | None]:
    """The network at its start, or this rank's tower of it, on its device."""
    network = AlexNet(config.network, generator=torch.Generator().manual_seed(config.seed))
    for change in config.schedule.parsed_changes:
        layers = {layer.name for layer in network.layers if layer.weight_shape}
        if change.target not in {COLOUR_NOISE, *layers}:
            raise ValueError(f"schedule.changes names '{change.target}', which is no layer with weights.")
    exchange = None
    if here.towers is not None:
        assert here.tower is not None
        if config.compile:
            raise ValueError("--compile does not go with towers: they exchange in the middle of the network.")
        exchange = split_towers(network, here.tower, here.towers)
    if here.count > 1:
        share_dropout(network, config.batch_size, here.part(config.batch_size).start, here.tower)
    return network.to(device=device, memory_format=torch.channels_last), exchange  # type: ignore[call-overload]


def load_into(
    network: AlexNet, exchange: Exchange | None, weights: dict[str, Tensor], trouble: str, missing: str = ""
) -> None:
    """Copy whole weights into the network, or this rank's part of them into its tower; see `copy_weights`.

    Raises ValueError, beginning with `trouble`, when names or shapes do not fit.
    """
    parts = {name: own_part(network, name, value, exchange) for name, value in weights.items()}
    checkpoint.copy_weights(network, parts, trouble, missing)


def start_from(network: AlexNet, exchange: Exchange | None, run: Path) -> None:
    """Copy every layer of `run`'s best checkpoint but the last (SPEC: pre-training, then tuning).

    Raises ValueError when there is none, or its layers have other shapes.
    """
    last = f"{network.layers[-1].name}."
    weights = {name: value for name, value in checkpoint.find(run).weights().items() if not name.startswith(last)}
    load_into(network, exchange, weights, f"{run} cannot be the start, its network is another", missing=last)
