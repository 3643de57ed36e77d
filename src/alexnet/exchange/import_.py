"""`alexnet import`: the weights of another program as a run, so that every command works on it."""

import hashlib
import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor

from alexnet.config import AugmentConfig, TrainConfig, save_config
from alexnet.data.classes import Class, ilsvrc2012, read_classes, write_classes
from alexnet.exchange import parity
from alexnet.exchange.facts import RECORD
from alexnet.exchange.folder import whole_folder
from alexnet.exchange.read_weights import Foreign, read_weights
from alexnet.files import durable
from alexnet.files.folders import check_folder
from alexnet.files.regular import open_regular
from alexnet.files.text import read_text
from alexnet.files.words import counted
from alexnet.study.random_weights import warn_if_random
from alexnet.study.trained import TrainedAlexNet, load
from alexnet.training import checkpoint, identity
from alexnet.training.checkpoint_file import State
from alexnet.training.run_folder import fixed_settings

RECIPE = "imported"
"""In place of a recipe's name."""
KNOWN = {
    "9116a64c0fbe4459d18f4bb6b56d647b63920377": "Caffe's bvlc_alexnet (57.1 % top-1, 80.2 % top-5 accuracy)",
    "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46": "Caffe's bvlc_reference_caffenet (57.4 % top-1, 80.4 % top-5 accuracy)",
    "7be5be79": "torchvision's AlexNet_Weights.IMAGENET1K_V1 (56.5 % top-1, 79.1 % top-5 accuracy)",
    "4df8aa71": "torchvision's alexnet of 2017 (alexnet-owt-4df8aa71)",
}
"""Published files, with what their authors say: by SHA-1 (Caffe's), or by the first digits of SHA-256 (PyTorch's)."""


def import_(weights: Path, run: Path, *, classes: Path | None = None, mean: Path | None = None) -> dict[str, Any]:
    """Make the run folder `run` of `weights`, and compare it with a plain PyTorch rendering of the other network.

    Reads torchvision's alexnet (.pth, .safetensors), Caffe's AlexNet and CaffeNet (.caffemodel; with `mean`, its
    .binaryproto, instead of ImageNet's mean colour), the ONNX zoo's copies of both (.onnx), and what `alexnet export
    --to safetensors` wrote. `classes` names the classes; without it, 1000 classes are ILSVRC-2012's, sorted by wnid.

    Returns what `import.json` in the run holds: `file`, `sha256`, `known` (None for weights that nobody published),
    `layout`, `preprocessing`, `classes`, `checked`, `random_weights` (why they look untrained, or None). Raises
    ValueError, naming the file, for what cannot be read, for other networks, and where the run computes something else.
    """
    check_folder(run)
    if run.exists() and any(run.iterdir()):
        raise ValueError(f"{run} is not empty; choose another folder.")
    found = read_weights(weights, mean)
    named = class_names(found, weights, classes)
    file = weights / "model.safetensors" if weights.is_dir() else weights
    sums = {kind: digest(file, kind) for kind in ("sha256", "sha1")}
    record: dict[str, Any] = {
        "file": str(file.resolve()),
        "sha256": sums["sha256"],
        "known": KNOWN.get(sums["sha1"]) or KNOWN.get(sums["sha256"][:8]),
        "layout": found.layout,
        "preprocessing": found.preprocessing,
        "classes": len(named),
        "program": f"alexnet {version('alexnet')}",
        "date": datetime.now(UTC).date().isoformat(),
    }
    with whole_folder(run, "import", new=True) as folder:
        write_run(folder, found, named, sums["sha256"])
        net = load(folder, "cpu")
        record["checked"] = check(net, found)
        record["random_weights"] = warn_if_random(net, weights)
        durable.write_json(folder / RECORD, record)
    return {"run": str(run)} | record


def class_names(found: Foreign, weights: Path, file: Path | None) -> tuple[Class, ...]:
    """The classes from `file`, from the export, or ILSVRC-2012's. ValueError where they are not as many as outputs."""
    count = found.network.classes
    classes = read_class_list(file) if file else found.classes
    if classes is None and count == 1000:
        classes = tuple(Class(wnid, name) for wnid, name in ilsvrc2012().items())
    if classes is None:
        raise ValueError(f"{weights} has {count} outputs: name them with --classes FILE, one class per line.")
    if len(classes) != count:
        raise ValueError(f"{file or weights} has {len(classes)} classes, the network {count} outputs.")
    return classes


def read_class_list(path: Path) -> tuple[Class, ...]:
    """Classes from JSON (pairs of wnid and name), or from lines "n01440764 tench, Tinca tinca" or "tench".

    ValueError, naming the file, for a class that is there twice.
    """
    if path.suffix.lower() == ".json":
        return read_classes(path)
    classes = []
    for line in filter(None, map(str.strip, read_text(path).splitlines())):
        wnid, _, name = line.partition(" ")
        is_wnid = len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit()
        classes.append(Class(wnid, name.strip() or wnid) if is_wnid else Class(line, line))
    twice = next((each.wnid for i, each in enumerate(classes) if each.wnid in {c.wnid for c in classes[:i]}), None)
    if twice:
        raise ValueError(f"{path} has the class {twice} twice.")
    return tuple(classes)


def digest(path: Path, kind: str) -> str:
    """The checksum of a file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, kind).hexdigest()


def write_run(folder: Path, found: Foreign, classes: tuple[Class, ...], sha256: str) -> None:
    """The files of a run, with one checkpoint of step 0 and velocities of 0."""
    augment = AugmentConfig(mean_crop="central" if found.central else "matching")
    config = TrainConfig(RECIPE, dtype="float32", network=found.network, augment=augment, honour_exif=found.honour_exif)
    mine = identity.make(config, sha256)
    save_config(config, folder / "config.json")
    write_classes(folder / "classes.json", classes)
    np.save(folder / "mean.npy", found.mean)
    identity.write(folder, mine)
    state: State = {
        "step": 0,
        "epoch": 0.0,
        "best_step": None,
        "top1_error": None,
        "top5_error": None,
        "schedule": {"drops": 0, "best": None, "waited": 0, "finished": False},
        "store": "",
        "run": mine,
        "settings": json.loads(json.dumps(fixed_settings(config))),
    }
    velocity = {name: torch.zeros_like(value) for name, value in found.weights.items()}
    checkpoint.save(folder, 0, found.weights, velocity, state)


def check(net: TrainedAlexNet, found: Foreign) -> dict[str, Any]:
    """Compare the written run's network with the other one on the reference images. ValueError as `parity.compare`."""

    def run(x: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return found.forward(x).numpy()

    return parity.check_logits(net, run, f"{found.layout} in PyTorch")


def render(result: dict[str, Any]) -> RenderableType:
    """The run that was made, for a terminal."""
    checked = result["checked"]
    lines = (
        f"{result['layout']}, {counted(result['classes'], 'class', 'classes')}; SHA-256 {result['sha256']}",
        f"known as: {result['known'] or 'nothing that was published'}",
        f"images: {result['preprocessing']}",
        f"compared with {checked['with']} on {counted(checked['images'], 'image')}: outputs equal to "
        f"{checked['largest_difference']:.1g} of the largest, same five best classes",
    )
    return Group(Text(f"{result['run']} from {result['file']}", style="bold"), *map(Text, lines))
