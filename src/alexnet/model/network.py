"""The network of the paper (section 3) and its relatives, on one device.

The paper spreads it over two GPUs, one tower each (`towers.py`); the same network on one device has two groups in
conv2, conv4 and conv5, and response normalisation that never looks across the towers. Input is 224x224x3 on the 0-255
scale with the mean image subtracted, nothing else. Which layers there are, and how large, is in `layers.py`; the
named variants are in `alexnet.networks`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import torch
import torch.fx
from torch import Tensor, nn

from alexnet.config import NetworkConfig
from alexnet.model.convolution import Conv2d, ZeroPad2d
from alexnet.model.layers import Layer, initial_values, layers_of
from alexnet.model.linear import Linear
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.pooling import MaxPool2d
from alexnet.model.spatial_norm import SpatialNorm
from alexnet.model.stage import together
from alexnet.model.unshared import GroupedLinear, Local2d
from alexnet.networks import network as named


def dropout(x: Tensor, p: float, training: bool, scaled: bool, whole: tuple[int, int] | None, at: tuple[int, int]):
    """Dropout as in 2012, see the module `Dropout`."""
    if not training:
        return x if scaled else x * (1 - p)
    if whole is None:
        mask = kept(x.shape, p, x.device)
    else:
        mask = kept(whole, p, x.device)[at[0] : at[0] + x.shape[0], at[1] : at[1] + x.shape[1]]
    return x * mask / (1 - p) if scaled else x * mask


def kept(shape: Sequence[int], p: float, device: torch.device) -> Tensor:
    """Which units dropout keeps: bool of `shape`, each False with probability `p`, to within 2 ** -16.

    Sixteen random bits a unit, four units of each draw: drawing them one by one takes ten times as long on a CPU.
    """
    count = math.prod(shape)
    draws = torch.empty(-(-count // 4), dtype=torch.int64, device=device).random_(-(2**63), None)
    return draws.view(torch.int16)[:count].view(shape) >= min(round(p * 2**16) - 2**15, 2**15 - 1)


torch.fx.wrap("dropout")  # one node in a traced network, in training and in testing alike


class Dropout(nn.Module):
    """Dropout as in 2012 (section 4.2): a 0/1 mask in training without rescaling; times 1 - p in testing.

    `nn.Dropout` rescales in training instead, which is another network at the same learning rate; `scaled` does so.
    Where several ranks hold parts of one batch, `whole` is the shape (images, units) of the whole and `at` where
    this part begins in it: every rank draws the whole mask and takes its own part, so that all together drop what
    one process would.
    """

    def __init__(self, p: float = 0.5, scaled: bool = False) -> None:
        super().__init__()
        self.p, self.scaled = p, scaled
        self.whole: tuple[int, int] | None = None
        self.at: tuple[int, int] = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """[B, units] in, the same shape out."""
        return dropout(x, self.p, self.training, self.scaled, self.whole, self.at)

    def extra_repr(self) -> str:
        return f"p={self.p}, scaled={self.scaled}"


class AlexNet(nn.Module):
    """`[B, 3, S, S]` float images (RGB, 0-255, mean removed) to `[B, classes]` logits.

    Every stage is a submodule, so that hooks and `create_feature_extractor` reach it by name; the paper's: `conv1
    relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7 drop7
    fc8`. `layers` describes them.

    `network` is a `NetworkConfig` or a name in `alexnet.networks.NETWORKS`; keywords replace single settings:
    `AlexNet("original", classes=10)`. Initial weights come from `generator` (default: torch's global one).

    Raises ValueError for an unknown name, settings that do not fit, and an input size that leaves nothing to pool.
    """

    # Those of the paper's network, for editors and type checkers; which ones there are, `layers` says.
    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    conv4: nn.Conv2d
    conv5: nn.Conv2d
    conv6: nn.Conv2d
    fc6: nn.Linear
    fc7: nn.Linear
    fc8: nn.Linear
    drop6: Dropout
    drop7: Dropout

    def __init__(
        self,
        network: NetworkConfig | str = "paper",
        *,
        generator: torch.Generator | None = None,
        **overrides: object,
    ) -> None:
        super().__init__()
        config = named(network).config if isinstance(network, str) else network
        self.network = config = dataclasses.replace(config, **overrides)  # type: ignore[arg-type]
        self.layers = layers_of(config)
        for layer in self.layers:
            self.add_module(layer.name, module(layer, config))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Gaussian weights and set the biases (section 5); without such settings, PyTorch's own way."""
        if not self.network.initial_std:
            with torch.random.fork_rng(enabled=generator is not None, devices=[]):
                if generator is not None:
                    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                for stage in self.children():
                    if isinstance(stage, nn.Conv2d | nn.Linear):
                        stage.reset_parameters()
            return
        for name, (std, bias) in initial_values(self.network).items():
            if name in self._modules:
                layer = self.get_submodule(name)
                layer.weight.normal_(0, std, generator=generator)  # type: ignore[union-attr,operator]
                layer.bias.fill_(bias)  # type: ignore[union-attr,operator]

    @property
    def last_hidden(self) -> str:
        """The name of the last activation: the numbers that the last layer decides by (`relu7`)."""
        return [layer.name for layer in self.layers if layer.kind == "activation"][-1]

    def train(self, mode: bool = True) -> Self:
        """ReLU works in place while training, and never in testing: there, hooks on conv1 see what conv1 gave."""
        for stage in self.children():
            if isinstance(stage, nn.ReLU):
                stage.inplace = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """One stage after the other; ReLU, normalisation and pooling together where that is faster."""
        layers = list(self.layers)
        while layers:
            if layers[0].kind in ("fc", "dropout") and len(layers[0].inputs) > 1:
                x = torch.flatten(x, 1)  # [B, 256, 6, 6] to [B, 9216]
            x, count = together(x, [self.get_submodule(layer.name) for layer in layers[:3]])
            layers = layers[count:]
        return x


def module(layer: Layer, config: NetworkConfig) -> nn.Module:
    """The module that does what `layer` describes."""
    channels, out = layer.inputs[0], layer.outputs[0]
    match layer.kind:
        case "pad":
            return ZeroPad2d((0, layer.padding, 0, layer.padding))
        case "conv":
            return Conv2d(channels, out, layer.kernel_size, layer.stride, padding=layer.padding, groups=layer.groups)
        case "local":
            return Local2d(channels, layer.outputs, layer.kernel_size, layer.padding)
        case "fc":
            inputs = layer.weight_shape[1] * layer.groups
            return Linear(inputs, out) if layer.groups == 1 else GroupedLinear(inputs, out, layer.groups)
        case "activation":
            return nn.ReLU() if config.activation == "relu" else nn.Tanh()
        case "norm":
            return LocalResponseNorm(layer.kernel_size, alpha=config.lrn_alpha, k=config.lrn_k, groups=layer.groups)
        case "spatial norm":
            return SpatialNorm(layer.kernel_size, alpha=config.spatial_norm_alpha)
        case "pool":
            return MaxPool2d(layer.kernel_size, layer.stride, ceil_mode=config.pool_ceil_mode)
        case "dropout":
            return Dropout(config.dropout, scaled=config.inverted_dropout)
