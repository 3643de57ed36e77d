"""Weights as files of PyTorch and safetensors: torchvision's layout, and our own names."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from alexnet.config import NetworkConfig, from_dict
from alexnet.exchange import parity, torchvision_layout
from alexnet.files.json_file import read_json
from alexnet.model.network import AlexNet
from alexnet.study.trained import TrainedAlexNet

SETTINGS = "config.json"
"""Beside our own safetensors: the network's settings."""


def write_torchvision(net: TrainedAlexNet, path: Path) -> dict[str, Any]:
    """Write the weights as a state dict that torchvision's `alexnet` loads. Returns what was compared.

    ValueError where the network is not torchvision's.
    """
    if reason := torchvision_layout.why_not(net.network):
        raise ValueError(f"This network is not torchvision's: {reason}. Use --to onnx or --to safetensors.")
    rescaled = has_torchvisions_mean(net)
    torch.save(torchvision_layout.from_ours(net.state_dict(), rescaled), path)
    state = torch.load(path, weights_only=True)
    unit = torchvision_layout.scale() if rescaled else 1.0

    def run(x: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return torchvision_layout.forward(state, x / unit).numpy()

    return parity.check_logits(net, run, "PyTorch")


def has_torchvisions_mean(net: TrainedAlexNet) -> bool:
    """Whether the mean image is torchvision's, so that torchvision's own preprocessing fits."""
    theirs = torch.from_numpy(torchvision_layout.mean_image(net.preprocess.size))
    return torch.allclose(net.preprocess.mean, theirs, atol=1e-3)


def torchvision_use(net: TrainedAlexNet) -> str:
    """How to load the file, in Markdown."""
    size, crop, classes = net.preprocess.size, net.preprocess.crop, net.network.classes
    if has_torchvisions_mean(net):
        takes = f"Its input is torchvision's: resize to {size}, centre crop of {crop}, its mean and standard deviation."
    else:
        takes = (
            f"Its input is RGB from 0 to 255, resized to {size} (bicubic), minus the mean image (`mean.npy`), centre "
            f"crop of {crop}: not torchvision's own normalisation."
        )
    load = f"network = torchvision.models.alexnet(num_classes={classes})"
    read = 'network.load_state_dict(torch.load("model.pth", weights_only=True))'
    return f"```python\n{load}\n{read}\n```\n\n{takes}"


def write_safetensors(net: TrainedAlexNet, path: Path) -> dict[str, Any]:
    """Write the weights under our names, with the network's settings beside them. Returns what was compared."""
    weights = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})
    preprocess = {"mean_crop": net.config.augment.mean_crop, "honour_exif": net.config.honour_exif}
    settings = {"architectures": ["AlexNet"], "network": dataclasses.asdict(net.network), "preprocess": preprocess}
    (path.parent / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    again = AlexNet(read_settings(path.parent / SETTINGS)[0]).eval()
    again.load_state_dict(load_file(path))

    def run(x: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            return again(x).numpy()

    return parity.check_logits(net, run, "PyTorch")


def read_settings(path: Path) -> tuple[NetworkConfig, dict[str, Any]]:
    """The network's settings, and `mean_crop` and `honour_exif`, as `write_safetensors` wrote them.

    ValueError for anything else.
    """
    try:
        values = read_json(path, dict[str, Any])
    except ValueError as error:
        raise ValueError(f"{path} is not a configuration: {error}.") from None
    if not all(isinstance(values.get(key), dict) for key in ("network", "preprocess")):
        raise ValueError(f"{path} has no network and preprocess; alexnet export --to safetensors writes such a file.")
    return from_dict(NetworkConfig, values["network"], str(path)), values["preprocess"]


def safetensors_use() -> str:
    """How to read the files, in Markdown."""
    lines = (
        "import json",
        "from alexnet import AlexNet",
        "from alexnet.config import NetworkConfig",
        "from safetensors.torch import load_file",
        "",
        'network = AlexNet(NetworkConfig(**json.load(open("config.json"))["network"])).eval()',
        'network.load_state_dict(load_file("model.safetensors"))',
    )
    return "\n".join(["```python", *lines, "```", "", "`alexnet import model.safetensors RUN` makes a run of it."])
