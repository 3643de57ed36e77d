"""AlexNet for Brain-Score: the network and its preprocessing in plain PyTorch, from the files beside this one.

`network.json` describes the layers, `model.safetensors` has their weights, `mean.npy` the mean image. No layer works in
place: Brain-Score's hooks keep views of the memory of each output.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
BICUBIC = Image.Resampling.BICUBIC


class PerTowerNorm(nn.Module):
    """Local response normalisation that stays within each of `groups` towers: x (k + alpha sum x^2)^-0.75."""

    def __init__(self, size: int, alpha: float, k: float, groups: int) -> None:
        super().__init__()
        self.groups, self.norm = groups, nn.LocalResponseNorm(size, alpha * size, 0.75, k)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(tower) for tower in x.chunk(self.groups, 1)], 1)


class SpatialNorm(nn.Module):
    """Normalisation within each map: x (1 + alpha mean x^2)^-0.75 over windows, with zeros beyond the edges."""

    def __init__(self, size: int, alpha: float) -> None:
        super().__init__()
        self.size, self.alpha = size, alpha

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.alpha * F.avg_pool2d(x.square(), self.size, 1, self.size // 2)) ** -0.75


class Scale(nn.Module):
    """Dropout in testing, as in 2012: a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Pool(nn.Module):
    """Max pooling to `outputs` maps: windows that reach past the edge are clipped."""

    def __init__(self, size: int, stride: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.size, self.stride, self.outputs = size, stride, tuple(outputs)

    def forward(self, x: Tensor) -> Tensor:
        end = max(0, (self.outputs[1] - 1) * self.stride + self.size - x.shape[2])
        return F.max_pool2d(F.pad(x, (0, end, 0, end), value=-torch.inf), self.size, self.stride)


def module_of(layer: dict[str, Any], settings: dict[str, Any]) -> nn.Module:
    """The module that computes a layer of network.json."""
    size, channels, out = layer["kernel_size"], layer["inputs"][0], layer["outputs"][0]
    match layer["kind"]:
        case "pad":
            return nn.ZeroPad2d((0, layer["padding"], 0, layer["padding"]))
        case "conv":
            return nn.Conv2d(channels, out, size, layer["stride"], layer["padding"], groups=layer["groups"])
        case "fc":
            return nn.Linear(int(np.prod(layer["inputs"])), out)
        case "activation":
            return nn.ReLU() if settings["activation"] == "relu" else nn.Tanh()
        case "norm":
            return PerTowerNorm(size, settings["lrn_alpha"], settings["lrn_k"], layer["groups"])
        case "spatial norm":
            return SpatialNorm(size, settings["spatial_norm_alpha"])
        case "pool":
            return Pool(size, layer["stride"], layer["outputs"])
        case "dropout":
            return Scale(1.0 if settings["inverted_dropout"] else 1 - settings["dropout"])
    raise ValueError(f"{layer['name']}: no module for {layer['kind']}.")


def load_network(folder: Path = HERE) -> nn.Sequential:
    """The trained network in eval mode: float32 [B, 3, S, S] to logits [B, classes]. Every layer is a submodule."""
    described = json.loads((folder / "network.json").read_text())
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in described["layers"]:
        if layer["kind"] in ("fc", "dropout") and len(layer["inputs"]) > 1:
            modules["flatten"] = nn.Flatten()
        modules[layer["name"]] = module_of(layer, described["settings"])
    network = nn.Sequential(modules)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()


def preprocess(paths: Sequence[str | Path], folder: Path = HERE) -> np.ndarray:
    """Images as the network was trained to see them: float32 [N, 3, S, S].

    Rescales the shorter side (bicubic, antialiased), crops the centre, and subtracts the mean image.
    """
    mean, described = np.load(folder / "mean.npy"), json.loads((folder / "network.json").read_text())
    size, crop = len(mean), described["settings"]["input_size"]
    edge = (size - crop) // 2
    found = []
    for path in paths:
        with Image.open(path) as image:
            image = image.convert("RGB")
            side = min(image.size)
            left, top = ((length - side) / 2 for length in image.size)
            # Rows first, as in training: Pillow 13 begins with the columns of some images.
            narrow = image.resize((size, image.height), BICUBIC, (left, 0, left + side, image.height))
            square = narrow.resize((size, size), BICUBIC, (0, top, size, top + side))
        centred = np.asarray(square, np.float32) - mean
        found.append(centred[edge : edge + crop, edge : edge + crop].transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(found), np.float32)


def get_layers() -> list[str]:
    """The layers that are compared with brains."""
    return json.loads((HERE / "network.json").read_text())["compared"]


def get_model() -> Any:
    """The network in Brain-Score's wrapper."""
    from brainscore_vision.model_helpers.activations.pytorch import PytorchWrapper  # pyright: ignore

    described = json.loads((HERE / "network.json").read_text())
    wrapper = PytorchWrapper(identifier=described["identifier"], model=load_network(), preprocessing=preprocess)
    wrapper.image_size = described["settings"]["input_size"]
    return wrapper


def get_bibtex() -> str:
    """The paper."""
    return """@inproceedings{krizhevsky2012imagenet,
  title = {ImageNet Classification with Deep Convolutional Neural Networks},
  author = {Krizhevsky, Alex and Sutskever, Ilya and Hinton, Geoffrey E.},
  booktitle = {Advances in Neural Information Processing Systems 25},
  pages = {1097--1105},
  year = {2012}
}"""
