"""The eight-layer network of the paper (section 3), in one process.

The paper spreads it over two GPUs, one tower each; the same network on one device has two groups in conv2, conv4
and conv5, and response normalisation that never looks across the towers. Input is 224x224x3 on the 0-255 scale
with the mean picture subtracted, nothing else.
"""

import dataclasses
import math
from typing import Self

import torch
import torch.fx
from torch import Tensor, nn

from alexnet.config import NetworkConfig
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.pooling import MaxPool2d
from alexnet.model.stage import relu_norm_pool
from alexnet.recipes import NETWORKS

WEIGHT_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Dropout as in 2012, see the module `Dropout`."""
    if training:
        return x * torch.empty_like(x).bernoulli_(1 - p)
    return x * (1 - p)


torch.fx.wrap("dropout")  # one node in a traced network, in training and in testing alike


class Dropout(nn.Module):
    """Dropout as in 2012 (section 4.2): a 0/1 mask in training without rescaling; times 1 - p in testing.

    `nn.Dropout` rescales in training instead, which is another network at the same learning rate.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same shape out."""
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class AlexNet(nn.Module):
    """`[B, 3, S, S]` float pictures (RGB, 0-255, mean removed) to `[B, classes]` logits.

    Every stage is a submodule, so that hooks and `create_feature_extractor` reach it by name: `conv1 relu1 norm1
    pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 fc6 relu6 drop6 fc7 relu7 drop7 fc8`.

    `network` is a `NetworkConfig` or a name in `alexnet.recipes.NETWORKS`; keywords replace single settings:
    `AlexNet("paper", classes=10)`. Initial weights come from `generator` (default: torch's global one).

    Raises ValueError for an unknown name and for an input size that leaves nothing to pool.
    """

    def __init__(
        self,
        network: NetworkConfig | str = "paper",
        *,
        generator: torch.Generator | None = None,
        **overrides: object,
    ) -> None:
        super().__init__()
        if isinstance(network, str):
            if network not in NETWORKS:
                raise ValueError(f"There is no network named '{network}'; known: {', '.join(NETWORKS)}.")
            network = NETWORKS[network]
        self.network = network = dataclasses.replace(network, **overrides)  # type: ignore[arg-type]

        def kernels(per_tower: int) -> int:
            return 2 * max(1, round(per_tower * network.width))

        c1, c2, c3, c4, c5 = kernels(48), kernels(128), kernels(192), kernels(192), kernels(128)
        units = kernels(2048)
        # The last row and column of conv1's windows reach past the picture (224 -> 55 outputs): zeros are
        # added on the right and at the bottom only.
        after_conv1 = 1 + math.ceil((network.input_size - 11) / 4)
        overhang = (after_conv1 - 1) * 4 + 11 - network.input_size
        last = pooled(pooled(pooled(after_conv1)))
        if network.input_size < 11 or last < 1:
            raise ValueError(
                f"network.input_size is {network.input_size}; AlexNet needs pictures of at least 36 pixels."
            )

        self.pad1 = nn.ZeroPad2d((0, overhang, 0, overhang))
        self.conv1 = nn.Conv2d(3, c1, kernel_size=11, stride=4)
        self.relu1 = nn.ReLU()
        self.norm1 = LocalResponseNorm(alpha=network.lrn_alpha, groups=2)
        self.pool1 = MaxPool2d()
        self.conv2 = nn.Conv2d(c1, c2, kernel_size=5, padding=2, groups=2)
        self.relu2 = nn.ReLU()
        self.norm2 = LocalResponseNorm(alpha=network.lrn_alpha, groups=2)
        self.pool2 = MaxPool2d()
        self.conv3 = nn.Conv2d(c2, c3, kernel_size=3, padding=1)  # sees both towers
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(c3, c4, kernel_size=3, padding=1, groups=2)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(c4, c5, kernel_size=3, padding=1, groups=2)
        self.relu5 = nn.ReLU()
        self.pool5 = MaxPool2d()
        self.fc6 = nn.Linear(c5 * last * last, units)
        self.relu6 = nn.ReLU()
        self.drop6 = Dropout(network.dropout)
        self.fc7 = nn.Linear(units, units)
        self.relu7 = nn.ReLU()
        self.drop7 = Dropout(network.dropout)
        self.fc8 = nn.Linear(units, network.classes)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw Gaussian weights and set the biases (section 5)."""
        for name, std, bias in zip(WEIGHT_LAYERS, self.network.initial_std, self.network.initial_bias, strict=True):
            layer = self.get_submodule(name)
            layer.weight.normal_(0, std, generator=generator)  # type: ignore[union-attr,operator]
            layer.bias.fill_(bias)  # type: ignore[union-attr,operator]

    def train(self, mode: bool = True) -> Self:
        """ReLU works in place while training, and never in testing: there, hooks on conv1 see what conv1 gave."""
        for stage in self.children():
            if isinstance(stage, nn.ReLU):
                stage.inplace = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Sizes on the right are those of the paper's 224x224 input."""
        x = self.conv1(self.pad1(x))  # [B, 96, 55, 55]
        x = relu_norm_pool(x, self.relu1, self.norm1, self.pool1)  # [B, 96, 27, 27]
        x = self.conv2(x)  # [B, 256, 27, 27]
        x = relu_norm_pool(x, self.relu2, self.norm2, self.pool2)  # [B, 256, 13, 13]
        x = self.relu3(self.conv3(x))  # [B, 384, 13, 13]
        x = self.relu4(self.conv4(x))  # [B, 384, 13, 13]
        x = self.pool5(self.relu5(self.conv5(x)))  # [B, 256, 6, 6]
        x = torch.flatten(x, 1)  # [B, 9216]
        x = self.drop6(self.relu6(self.fc6(x)))  # [B, 4096]
        x = self.drop7(self.relu7(self.fc7(x)))  # [B, 4096]
        return self.fc8(x)


def pooled(size: int) -> int:
    """Output size of a 3x3 pool with stride 2 whose last window may be clipped."""
    return 1 + math.ceil((size - 3) / 2)
