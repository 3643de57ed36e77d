"""The paper's network from torch.nn, as a user of PyTorch would write it. Imports nothing of this package."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 1000


class PerTowerNorm(nn.Module):
    """`nn.LocalResponseNorm` on each tower. It divides alpha by its window of 5, the paper does not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(half) for half in x.chunk(2, 1)], 1)


class NormByConvolution(nn.Module):
    """The same normalisation with its sums of squares as a 1x1 convolution, a form that suits torch.compile."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        index = torch.arange(channels // 2)
        band = ((index[:, None] - index).abs() <= 2).float() * 1e-4
        self.register_buffer("band", torch.block_diag(band, band)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        s = F.conv2d(x.square(), self.get_buffer("band").to(x.dtype)) + 2
        return x * (s.rsqrt() * s.rsqrt().sqrt())  # s ** -0.75


class PaperDropout(nn.Module):
    """Dropout that scales in evaluation and not in training (paper, section 4.2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty_like(x).bernoulli_(0.5) if self.training else x * 0.5


def torch_nn_network(norm_by_convolution: bool = False) -> nn.Sequential:
    """The paper's network for images [B, 3, 224, 224]; returns logits [B, 1000]."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    def norm(channels: int) -> nn.Module:
        return NormByConvolution(channels) if norm_by_convolution else PerTowerNorm()

    return nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(96), pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(256), pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool(), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), PaperDropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), PaperDropout()),
        nn.Linear(4096, CLASSES),
    )


@torch.no_grad()
def copy_parameters(network: nn.Sequential, parameters: Iterable[Tensor]) -> nn.Sequential:
    """Copy weights and biases, first layer to last, into `network`. Returns it."""
    for mine, other in zip(network.parameters(), parameters, strict=True):
        mine.copy_(other)
    return network
