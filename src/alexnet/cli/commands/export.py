"""`alexnet export`."""

from pathlib import Path
from typing import Literal

from alexnet.cli.options import Answer, Flag


def export(
    run: Path,
    out: Path,
    /,
    *,
    to: Literal["onnx", "torchvision", "safetensors", "brainscore"] = "onnx",
    preprocess: Flag = False,
    views: int = 1,
    decomposed: Flag = False,
    data: Path | None = None,
    force: Flag = False,
) -> Answer:
    """Write a trained network in another program's format, with a model card.

    The network that was written is compared with ours on reference images before the folder OUT appears. OUT holds
    the network, README.md (the card), classes.json and mean.npy. Formats:

      onnx         for ONNX Runtime, OpenVINO, browsers and others (needs pip install 'alexnet[export]')
      torchvision  a state dict for torchvision's alexnet, if the network is torchvision's
      safetensors  weights under our names, and the network's settings
      brainscore   a plugin folder for Brain-Score, with a test of its activations

    Example:
      alexnet export runs/imagenette exported
      alexnet export runs/imagenette exported --preprocess --views 10
      alexnet export runs/imagenette exported --to safetensors

    Args:
        run: Run folder made by alexnet train or alexnet import.
        out: Folder to write.
        to: Format.
        preprocess: ONNX: take images (uint8, any size) and return probabilities.
        views: ONNX with --preprocess: average 1 (centre) or 10 views.
        decomposed: ONNX: do without the operator LRN, for runtimes that lack it (WebGPU).
        data: Store on which the errors for the card are measured; without it, those of the training.
        force: Overwrite files that are there.
    """
    from alexnet.exchange import export as module

    result = module.export(
        run, out, to=to, preprocess=preprocess, views=views, decomposed=decomposed, data=data, force=force
    )
    return result, module.render
