"""Runs with random weights, but for smooth kernels in conv1, as a training leaves them, of any network."""

from pathlib import Path

import numpy as np
import torch
from runs import state_of
from torch.nn.functional import avg_pool2d

from alexnet.config import NetworkConfig, TrainConfig, save_config
from alexnet.data.classes import Class, write_classes
from alexnet.model.network import AlexNet
from alexnet.training import checkpoint
from alexnet.training.run_folder import fixed_settings

SIZE = 72
"""Pixels of a store's images."""
SMALL = NetworkConfig(classes=7, input_size=63, width=1 / 12)


def spread(network: AlexNet, seed: int = 0) -> None:
    """Weights of a size that keeps the activations of all layers apart from zero; small biases."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.layers:
            if layer.weight_shape:
                module = network.get_submodule(layer.name)
                inputs = layer.weight_shape[-1] if layer.kind == "local" else np.prod(layer.weight_shape[1:])
                module.weight.normal_(0, (2 / float(inputs)) ** 0.5, generator=generator)  # type: ignore[union-attr,operator]
                module.bias.normal_(0, 0.1, generator=generator)  # type: ignore[union-attr,operator]


def smooth(network: AlexNet) -> None:
    """Give conv1 smooth kernels, and the last layer biases of its own, as training does."""
    last = network.get_submodule(network.layers[-1].name)
    with torch.no_grad():
        network.conv1.weight.copy_(3 * avg_pool2d(network.conv1.weight, 3, 1, 1))
        last.bias.normal_(0, 1e-3, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr,operator]


def write(folder: Path, network: NetworkConfig = SMALL, mean: np.ndarray | None = None) -> Path:
    """Write a run of `network` to `folder`. `mean`: float32 [S, S, 3]; None: a mean image that differs everywhere."""
    net = AlexNet(network)
    spread(net)
    smooth(net)
    if mean is None:
        size = max(SIZE, network.input_size + 9)
        mean = np.random.default_rng(5).uniform(100, 140, (size, size, 3)).astype(np.float32)
    config = TrainConfig("tiny", network=network)
    folder.mkdir(parents=True)
    save_config(config, folder / "config.json")
    write_classes(folder / "classes.json", [Class(f"n{i:08d}", f"animal {i}") for i in range(network.classes)])
    np.save(folder / "mean.npy", mean)
    velocity = {name: torch.zeros_like(w) for name, w in net.named_parameters()}
    state = state_of(6, 6, epoch=2.0, top1_error=0.25, top5_error=0.125, settings=fixed_settings(config))
    checkpoint.save(folder, 6, net.state_dict(), velocity, state)
    return folder
