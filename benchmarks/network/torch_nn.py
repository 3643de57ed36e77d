"""The network of the paper as one would write it with torch.nn."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 1000


class TwoTowerNorm(nn.Module):
    """`nn.LocalResponseNorm` on each tower; it divides alpha by its window of 5, the paper does not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.norm(half) for half in x.chunk(2, 1)], 1)


class BandedNorm(nn.Module):
    """The same sums of squares as a 1x1 convolution, which compilers like better."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        index = torch.arange(channels // 2)
        band = ((index[:, None] - index).abs() <= 2).float() * 1e-4
        self.register_buffer("band", torch.block_diag(band, band)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        s = F.conv2d(x.square(), self.get_buffer("band").to(x.dtype)) + 2
        return x * (s.rsqrt() * s.rsqrt().sqrt())


class HalvedDropout(nn.Module):
    """The paper's dropout while testing; while training a mask without rescaling."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty_like(x).bernoulli_(0.5) if self.training else x * 0.5


def as_written(banded: bool = False) -> nn.Sequential:
    """The layers from torch.nn."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    def norm(channels: int) -> nn.Module:
        return BandedNorm(channels) if banded else TwoTowerNorm()

    return nn.Sequential(
        nn.ZeroPad2d((0, 3, 0, 3)),
        *(nn.Conv2d(3, 96, 11, 4), nn.ReLU(), norm(96), pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), norm(256), pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), pool(), nn.Flatten()),
        *(nn.Linear(9216, 4096), nn.ReLU(), HalvedDropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(), HalvedDropout()),
        nn.Linear(4096, CLASSES),
    )


@torch.no_grad()
def with_weights(network: nn.Sequential, weights: Iterable[Tensor]) -> nn.Sequential:
    """`network` with the weights and biases of another, first to last."""
    for mine, other in zip(network.parameters(), weights, strict=True):
        mine.copy_(other)
    return network
