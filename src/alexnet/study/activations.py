"""Activations: the outputs of named layers for the centre view of images.

A layer's name means exactly the output of the submodule of that name, as a forward hook sees it: `conv5` and `fc7`
are outputs before the ReLU, `relu5` and `relu7` after it. Activations are float32, whatever the run was trained in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alexnet.model.network import AlexNet
from alexnet.ranges import UsageError
from alexnet.study.trained import TrainedAlexNet


def layer_names(net: nn.Module) -> list[str]:
    """Names of the layers, first to last."""
    return [name for name, _ in net.named_children()]


def check_layer(net: nn.Module, layer: str) -> None:
    """ValueError, with the possible names, when the network has no such layer."""
    if layer not in layer_names(net):
        raise UsageError(f"There is no layer '{layer}'; this network has {', '.join(layer_names(net))}.")


def parse_layers(net: AlexNet, text: str) -> list[str]:
    """The layers named in `text`, separated by commas; of `all`, every layer but padding and dropout. Raises ValueError
    as `check_layer`."""
    if text.strip() == "all":
        return [layer.name for layer in net.layers if layer.kind not in ("pad", "dropout")]
    layers = [name.strip() for name in text.split(",")]
    for name in layers:
        check_layer(net, name)
    return layers


def centre_views(net: TrainedAlexNet, images: Tensor) -> Tensor:
    """The centre view of whole images, mean removed: uint8 [B, S, S, 3] to float32 [B, 3, C, C] on `net`'s device."""
    return net.preprocess.views(images.to(next(net.parameters()).device), 1)[:, 0]


class _AllFound(Exception):
    """Ends a forward pass."""


@torch.inference_mode()
def activations(net: nn.Module, views: Tensor, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Outputs of the named layers for views [B, 3, C, C]: float32 [B, ...] each.

    They are copied as the layer returns, before a following in-place layer can change them. Layers after the last of
    them are not computed.
    """
    found: dict[str, np.ndarray] = {}
    wanted = {*layers}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            found[name] = output.to("cpu", torch.float32, copy=True).contiguous().numpy()
            if found.keys() == wanted:
                raise _AllFound

        return hook

    handles = [net.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        net(views.to(next(net.parameters()).device))
    except _AllFound:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found
