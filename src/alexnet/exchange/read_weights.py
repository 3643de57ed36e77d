"""Reads the weights of other programs: which network they are of, what prepares its images, what it is known as."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from alexnet.config import NetworkConfig
from alexnet.data.classes import Class, read_classes
from alexnet.data.sources.pickled import OtherNameError
from alexnet.exchange import caffe, state_dict, torchvision_layout, weight_files
from alexnet.files.arrays import read_array
from alexnet.files.printable import printable
from alexnet.files.regular import read_regular
from alexnet.model.network import AlexNet
from alexnet.networks import NETWORKS
from alexnet.ranges import UsageError, values_of

LARGEST = 1 << 33
"""Bytes of a file, as of a checkpoint."""


@dataclass(frozen=True)
class Foreign:
    """A network that another program trained."""

    layout: str
    """Whose names and order of weights the file has."""
    network: NetworkConfig
    weights: dict[str, Tensor]
    """Under our names, for our input (RGB, 0 to 255, mean subtracted)."""
    mean: np.ndarray
    """float32 [S, S, 3]."""
    preprocessing: str
    """What the other program does with images, and what we do otherwise."""
    forward: Callable[[Tensor], Tensor]
    """The other program's network in plain PyTorch, from our input [B, 3, C, C] to logits."""
    classes: tuple[Class, ...] | None = None
    central: bool = False
    honour_exif: bool = False


def read_weights(path: Path, mean: Path | None) -> Foreign:
    """Read a file by the ending of its name: .pth or .pt, .safetensors, .caffemodel, .onnx (the zoo's AlexNet and
    CaffeNet). `mean`: Caffe's mean file.

    Raises ValueError, naming the file, for anything else and for other networks.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    ending = path.suffix.lower()
    if ending in (".caffemodel", ".onnx"):
        return of_caffe(path, mean)
    if mean is not None:
        raise UsageError(f"--mean is for Caffe's networks, not for {path}.")
    if ending not in (".pth", ".pt", ".safetensors"):
        raise UsageError(f"{path} has no known ending: .pth, .pt, .safetensors, .caffemodel or .onnx.")
    state = read_safetensors(path) if ending == ".safetensors" else read_state_dict(path)
    if "features.0.weight" in state:
        return of_torchvision(path, state)
    if ending == ".safetensors" and "conv1.weight" in state:
        return of_ours(path, state)
    raise ValueError(
        f"{path} is neither torchvision's alexnet nor an export of ours: see {min(state, default='')!r:.60}."
    )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of torch.save; nothing in it is executed. ValueError for anything else."""
    advice = "it is cut short, damaged, or of another program. Save network.state_dict() with torch.save."
    try:
        state = state_dict.read_tensors(read_regular(path, LARGEST))
    except ValueError as error:
        if isinstance(error, OtherNameError):
            name = printable(error.name[:80])
            advice = f"it holds a Python object ({name}), which would run a program. Save network.state_dict() alone."
        raise ValueError(f"{path} is not a state dict that can be read safely: {advice}") from None
    return checked_state(path, state)


def _entry(name: object) -> str:
    """The name of an entry of a stranger's dict, in a message."""
    return f"'{printable(str(name)[:40])}'"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of safetensors. ValueError for anything else."""
    try:
        return checked_state(path, load(read_regular(path, LARGEST)))
    except SafetensorError as error:
        raise ValueError(f"{path} is not a file of safetensors: {' '.join(str(error).split())}") from None


def checked_state(path: Path, state: Any) -> dict[str, Tensor]:
    """`state`, if it is a dict of finite floating point tensors. ValueError otherwise."""
    if not isinstance(state, dict):
        raise ValueError(f"{path} is not a state dict: names and tensors. Save network.state_dict().")
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        more = " and others" if len(others) > 3 else ""
        raise ValueError(
            f"{path} is not a state dict, whose entries are tensors: {', '.join(map(_entry, others[:3]))}{more} "
            f"{'is' if len(others) == 1 else 'are'} something else. Save network.state_dict() alone."
        )
    for name, value in state.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise ValueError(f"{path}: {name} is not finite floating point numbers.")
    return {str(name): value.float() for name, value in state.items()}


def of_torchvision(path: Path, state: dict[str, Tensor]) -> Foreign:
    """torchvision's alexnet. ValueError where names or shapes are others."""
    units, classes = (max(1, state.get(f"classifier.{i}.bias", torch.empty(0)).numel()) for i in (1, 6))
    # Some fine-tuned networks have fewer units in fc6 and fc7.
    with values_of(path):
        config = dataclasses.replace(NETWORKS["torchvision"].config, classes=classes, fc_units=units)
    weights = torchvision_layout.to_ours(state)
    with torch.device("meta"):
        expected = {name: value.shape for name, value in AlexNet(config).state_dict().items()}
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights or name not in expected or weights[name].shape != expected[name]:
            raise ValueError(f"{path} is not torchvision's alexnet: see {name} (in our names).")
    unit = torchvision_layout.scale()
    return Foreign(
        "torchvision",
        config,
        weights,
        torchvision_layout.mean_image(),
        "resize 256, crop 224, mean and standard deviation per channel (inside conv1). torchvision resizes bilinearly "
        "unless told otherwise, we bicubically.",
        lambda x: torchvision_layout.forward(state, x / unit),
    )


def of_caffe(path: Path, mean: Path | None) -> Foreign:
    """Caffe's AlexNet or CaffeNet."""
    config, weights = (caffe.read_zoo if path.suffix.lower() == ".onnx" else caffe.read_caffemodel)(path)
    image = caffe.read_mean(mean) if mean else caffe.mean_image()
    if len(image) < config.input_size:
        raise ValueError(f"{mean} has {len(image)} pixels, the network takes crops of {config.input_size}.")
    subtracted = f"the mean image {mean.name}" if mean else "ImageNet's mean colour"
    pool_first = config.after_conv1 == "activation-pool-norm"
    return Foreign(
        "caffenet" if pool_first else "caffe",
        config,
        weights,
        image,
        f"RGB (Caffe: BGR) from 0 to 255, crop {config.input_size}, minus {subtracted}. "
        "Caffe squashes images to 256 x 256, we resize the shorter side and crop the centre.",
        lambda x: caffe.forward(weights, x.flip(1), pool_first),
    )


def of_ours(path: Path, state: dict[str, Tensor]) -> Foreign:
    """What `alexnet export --to safetensors` wrote: needs the files beside it."""
    for name in (weight_files.SETTINGS, "mean.npy", "classes.json"):
        if not (path.parent / name).is_file():
            raise ValueError(f"{path} needs {name} beside it, as alexnet export --to safetensors writes it.")
    config, preprocess = weight_files.read_settings(path.parent / weight_files.SETTINGS)
    try:
        mean = read_array(path.parent / "mean.npy")
    except ValueError as error:
        raise ValueError(f"{path.parent / 'mean.npy'} cannot be read: {error}") from None
    with values_of(path.parent / weight_files.SETTINGS), torch.device("meta"):  # its settings may claim any size
        net = AlexNet(config).eval()
    try:
        net.load_state_dict(state, assign=True)
    except RuntimeError:
        raise ValueError(f"{path} does not fit the network of {path.parent / weight_files.SETTINGS}.") from None
    return Foreign(
        "alexnet",
        config,
        state,
        mean,
        "as the run that it was exported from",
        net,
        read_classes(path.parent / "classes.json"),
        preprocess.get("mean_crop") == "central",
        preprocess.get("honour_exif") is True,
    )
