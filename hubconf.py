"""The networks by name, and a trained run, for `torch.hub.load` of a clone of this repository.

network = torch.hub.load("path/to/clone", "caffe", source="local", classes=10)
trained = torch.hub.load("path/to/clone", "load", "runs/mine", source="local")
"""

import importlib as _importlib
import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

_SOURCE = str(_Path(__file__).parent / "src")
if _SOURCE not in _sys.path:  # of this clone, whether it is installed or not
    _sys.path.insert(0, _SOURCE)

_alexnet = _importlib.import_module("alexnet")
_networks = _importlib.import_module("alexnet.networks")

dependencies = ["torch", "numpy", "safetensors", "pyarrow", "simplejpeg", "PIL", "rich"]


def load(run: str, device: str = "auto") -> _Any:
    """The trained network of a run folder, in eval mode, with its `classes` and its `preprocess`."""
    return _alexnet.load(run, device)


def _entry(name: str) -> _Any:
    def network(pretrained: bool = False, **settings: _Any) -> _Any:
        if pretrained:
            raise ValueError("No weights are published: train a run, or make one with alexnet import, and use load.")
        return _alexnet.AlexNet(name, **settings)

    network.__doc__ = f"{_networks.NETWORKS[name].about} Settings as in AlexNet(...), such as classes=10."
    return network


globals().update({_name: _entry(_name) for _name in _networks.NETWORKS})
