"""The network of the paper (section 3) and its relatives, on one device.

The paper spreads the network over two GPUs, one tower each (`towers.py`). On one device the towers are two groups of
channels in conv2, conv4 and conv5, and local response normalisation that never looks across them. `layers.py` says
which stages a configuration has and how large they are; the named networks are in `alexnet.networks`. Sources:
docs/specification.md, "The network".
"""

import dataclasses
from os import PathLike
from typing import Any, Self

import torch
from torch import Tensor, nn

from alexnet.config import NetworkConfig
from alexnet.model.convolution import Conv2d, ZeroPad2d
from alexnet.model.dropout import Dropout
from alexnet.model.layers import Layer, initial_values, layers_of
from alexnet.model.linear import Linear
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.pooling import MaxPool2d
from alexnet.model.spatial_norm import SpatialNorm
from alexnet.model.stage import together
from alexnet.model.unshared import GroupedLinear, Local2d
from alexnet.networks import network as named


class AlexNet(nn.Module):
    """Images [B, 3, S, S] (float, RGB, on the 0-255 scale, mean subtracted) to logits [B, classes].

    Every stage is a submodule that hooks and `create_feature_extractor` reach by its name. The paper's stages: `pad1
    conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7
    drop7 fc8`. `layers` describes them.

    `network` is a `NetworkConfig` or a name in `alexnet.networks.NETWORKS`. Keywords replace single settings:
    `AlexNet("original", classes=10)`. Initial weights come from `generator` (None: torch's global one).

    Raises ValueError for an unknown name, for settings that contradict each other, and for images too small to pool.
    """

    # Stages of the paper's network, for editors and type checkers. `layers` lists those that a network really has.
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
            self.add_module(layer.name, stage_of(layer, config))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Gaussian weights and set the biases (section 5); without `initial_std`, as PyTorch does.

        Each layer has random numbers of its own, so that networks that differ in one layer begin alike in the others.
        Weights on the meta device have no values to draw.
        """
        if next(self.parameters()).is_meta:
            return
        if not self.network.initial_std:
            self._reset_as_pytorch(generator)
            return
        for name, (std, bias) in initial_values(self.network).items():
            seed = drawn_seed(generator)
            if name in self._modules:
                layer = self.get_submodule(name)
                draw_gaussian(layer.weight, std, seed)  # type: ignore[arg-type]
                layer.bias.fill_(bias)  # type: ignore[union-attr,operator]

    def _reset_as_pytorch(self, generator: torch.Generator | None) -> None:
        with torch.random.fork_rng(enabled=generator is not None, devices=[]):
            if generator is not None:
                torch.manual_seed(drawn_seed(generator))
            for stage in self.children():
                if isinstance(stage, nn.Conv2d | nn.Linear):
                    stage.reset_parameters()

    @property
    def last_hidden(self) -> str:
        """Name of the last hidden activation, the input of the last layer: `relu7`."""
        return [layer.name for layer in self.layers if layer.kind == "activation"][-1]

    def train(self, mode: bool = True) -> Self:
        """ReLU works in place in training only: in testing, hooks on conv1 see its output before the ReLU."""
        for stage in self.children():
            if isinstance(stage, nn.ReLU):
                stage.inplace = mode
        return super().train(mode)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `nn.Module`; ValueError for an input of another shape or kind. (Not in `forward`, which can be traced.)"""
        for x in (*args, *kwargs.values())[:1]:
            self._check_input(x)
        return super().__call__(*args, **kwargs)

    def _check_input(self, x: Any) -> None:
        size = self.network.input_size
        if isinstance(x, Tensor):
            is_number = x.is_floating_point() and (x.dtype != torch.float64 or self.conv1.weight.dtype == x.dtype)
            if x.ndim != 4 or tuple(x.shape[1:]) != (3, size, size):
                wrong = f"[B, 3, {size}, {size}], not {list(x.shape)}"
            elif not is_number:
                wrong = f"float32, not {str(x.dtype).removeprefix('torch.')}"
            else:
                return
        elif isinstance(x, str | bytes | PathLike) or hasattr(type(x), "__array_interface__"):  # NumPy's and Pillow's
            wrong = f"a tensor, not {type(x).__name__}"
        else:  # what traces a network stands for a tensor
            return
        raise ValueError(
            f"This network takes {wrong}. Its input is RGB images minus the mean image: give it "
            "preprocess(image)[None], where preprocess is that of alexnet.load(RUN)."
        )

    def forward(self, x: Tensor) -> Tensor:
        """One stage after the other. `together` may compute ReLU, normalisation and pooling in one pass."""
        layers = list(self.layers)
        while layers:
            if layers[0].kind in ("fc", "dropout") and len(layers[0].inputs) > 1:
                x = torch.flatten(x, 1)  # [B, 256, 6, 6] to [B, 9216]
            x, count = together(x, [self._modules[layer.name] for layer in layers[:3]])  # type: ignore[misc]
            layers = layers[count:]
        return x


def stage_of(layer: Layer, config: NetworkConfig) -> nn.Module:
    """The module that computes what `layer` describes."""
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
            return Dropout(config.dropout, inverted=config.inverted_dropout)


def drawn_seed(generator: torch.Generator | None) -> int:
    """A seed from `generator` (None: from torch's global one, of the CPU)."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else "cpu"))


def draw_gaussian(weight: Tensor, std: float, seed: int) -> Tensor:
    """Fill `weight` with Gaussian numbers, those of a generator of this seed on the weight's device."""
    return weight.normal_(0, std, generator=torch.Generator(weight.device).manual_seed(seed))
