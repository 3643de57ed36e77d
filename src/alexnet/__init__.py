"""AlexNet as Krizhevsky, Sutskever and Hinton published it in 2012.

    from alexnet import AlexNet, load

`AlexNet(...)` is the untrained network, an ordinary `nn.Module`; `load(RUN)` the trained one. Both are looked
up on first use, so that importing the package (and answering `alexnet --help`) does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model.network import AlexNet
    from .study.trained import load

__version__ = "0.1.0"
__all__ = ["AlexNet", "load"]

_HOME = {"AlexNet": "alexnet.model.network", "load": "alexnet.study.trained"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
