"""ONNX files: the model with its metadata, checked in ONNX Runtime before it is called written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from torch import Tensor

from alexnet.exchange import parity
from alexnet.exchange.onnx_images import image_model
from alexnet.exchange.onnx_network import network_model
from alexnet.study.trained import TrainedAlexNet

RESIZED_TOLERANCE = 1e-3
"""Largest difference of probabilities of images that the graph resizes: one pixel in ten thousand is rounded to the
next number."""


def write_onnx(
    net: TrainedAlexNet,
    known: dict[str, Any],
    path: Path,
    *,
    preprocess: bool = False,
    views: int = 1,
    decomposed: bool = False,
) -> dict[str, Any]:
    """Write the network as ONNX (opset 18) and compare it with ours in ONNX Runtime. Returns what was compared.

    With `preprocess` the graph takes images, uint8 [batch, height, width, 3], and returns probabilities, averaged over
    1 or 10 views. `decomposed`: without the operator LRN. `known` (see `facts`) goes into the metadata.

    Raises ValueError where ONNX Runtime computes something else.
    """
    model = image_model(net, views, decomposed) if preprocess else network_model(net, decomposed)
    onnx.helper.set_model_props(model, metadata(net, known, preprocess, views))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return check_images(net, path, views) if preprocess else check_network(net, path)


def metadata(net: TrainedAlexNet, known: dict[str, Any], preprocess: bool, views: int) -> dict[str, str]:
    """Text by key; lists and objects as JSON. `classes` and `wnids` are in the order of the outputs."""
    size, crop = net.preprocess.size, net.preprocess.crop
    scaled = "RGB, 0 to 255"
    takes = f"float32 [batch, 3, {crop}, {crop}]: {scaled}, mean image (mean.npy) subtracted"
    if preprocess:
        takes = f"uint8 [batch, height, width, 3]: {scaled}; resized to {size}, {views} view(s) of {crop} pixels"
    values = {key: known[key] for key in ("program", "date", "run", "checkpoint", "weights_sha256", "network")}
    values |= {"network_settings": known["network_settings"], "errors": known["errors"], "input": takes}
    values |= {"classes": [each.name for each in net.classes], "wnids": [each.wnid for each in net.classes]}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def session(path: Path) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime, on the CPU."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def check_network(net: TrainedAlexNet, path: Path) -> dict[str, Any]:
    """Compare logits on the reference images. Raises ValueError as `parity.compare`."""
    runtime = session(path)

    def run(x: Tensor) -> np.ndarray:
        return np.asarray(runtime.run(["logits"], {"images": x.numpy()})[0])

    return parity.check_logits(net, run, "ONNX Runtime")


def check_images(net: TrainedAlexNet, path: Path, views: int) -> dict[str, Any]:
    """Compare probabilities on the reference images, whole. Raises ValueError as `parity.compare`."""
    runtime, differences = session(path), []
    images = parity.reference_images(net.preprocess.size)
    for i, image in enumerate(images):
        batch = np.stack([image, image[::-1]])
        ours = np.concatenate([parity.probabilities(net, each, views) for each in batch])
        theirs = np.asarray(runtime.run(["probabilities"], {"images": batch})[0])
        tolerance = RESIZED_TOLERANCE if i else parity.TOLERANCE  # the first one keeps its size
        differences.append(parity.compare(ours, theirs, "ONNX Runtime", tolerance))
    return {"with": "ONNX Runtime", "images": len(images), "largest_difference": max(differences)}
