"""`alexnet import`."""

from pathlib import Path

from alexnet.cli.options import Answer


def import_(weights: Path, run: Path, /, *, classes: Path | None = None, mean: Path | None = None) -> Answer:
    """Make a run of another program's weights, so that every command works on it.

    Reads torchvision's alexnet (.pth, .safetensors), Caffe's AlexNet and CaffeNet (.caffemodel), the ONNX zoo's copies
    of both (.onnx), and what alexnet export --to safetensors writes. The run is compared with the other network before
    it appears, and its import.json says where the weights come from.

    Example:
      alexnet import alexnet-owt-7be5be79.pth runs/torchvision
      alexnet import bvlc_alexnet.caffemodel runs/caffe --mean imagenet_mean.binaryproto

    Args:
        weights: File with the weights.
        run: Run folder to make.
        classes: Names of the classes, a line each, as "n01440764 tench" or "tench"; without it ILSVRC-2012's.
        mean: Caffe's mean file (.binaryproto); without it, ImageNet's mean colour.
    """
    from alexnet.exchange import import_ as module

    return module.import_(weights, run, classes=classes, mean=mean), module.render
