"""The two towers of the network on a process each (paper, sections 3.2 and 3.5).

Each holds half of the kernels and units: the first or second half of the rows of every weight and bias. Both see the
same images. They exchange activations only before the layers that see both towers (paper: conv3, fc6, fc7, fc8);
on the way back each receives the part of the gradient that the other's kernels cause. The last layer, small and
needed whole by the softmax, is held and computed by both, so that its gradient needs no exchange.

The network itself knows nothing of this: the layers are halved and the exchange is hooked before them.
"""

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.model.layers import Layer
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.network import AlexNet, Dropout
from alexnet.model.unshared import GroupedLinear


class Exchange:
    """The way between the two towers. `sent` counts the bytes that this one has given the other."""

    def __init__(self, tower: int, group: dist.ProcessGroup) -> None:
        self.tower, self.group, self.sent = tower, group, 0

    def gather(self, mine: Tensor) -> list[Tensor]:
        """The same tensor of both towers, the first tower's first."""
        mine = mine.contiguous()
        both = [torch.empty_like(mine) for _ in range(2)]
        dist.all_gather(both, mine, group=self.group)
        self.sent += mine.nbytes
        return both

    def swap(self, halves: tuple[Tensor, Tensor]) -> Tensor:
        """Give each tower its half and add up what both have for this one."""
        given = torch.stack(halves)
        taken = torch.empty_like(given)
        dist.all_to_all_single(taken, given, group=self.group)
        self.sent += halves[0].nbytes
        return taken[0] + taken[1]


class BothTowers(torch.autograd.Function):
    """One tower's activations to both towers', [B, C / 2, ...] to [B, C, ...].

    `alike`: what follows is computed by both towers alike, so that each already has the whole gradient.
    """

    @staticmethod
    def forward(ctx, x: Tensor, exchange: Exchange, alike: bool) -> Tensor:
        ctx.exchange, ctx.alike = exchange, alike
        return last(torch.cat(exchange.gather(first(x)), dim=-1))

    @staticmethod
    def backward(ctx, g: Tensor):
        halves = first(g).chunk(2, dim=-1)
        mine = halves[ctx.exchange.tower] if ctx.alike else ctx.exchange.swap(halves)
        return last(mine), None, None


def first(x: Tensor) -> Tensor:
    """Channels last in the shape as they are in memory: [B, C, H, W] to [B, H, W, C]."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def last(x: Tensor) -> Tensor:
    """The inverse of `first`."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def split_towers(network: AlexNet, tower: int, group: dist.ProcessGroup) -> Exchange:
    """Leave only tower 0 or 1 of `network`, exchanging with the other over `group`.

    Weights are the halves of those that it had. Raises ValueError for a network that has no two towers.
    """
    check_divisible(network)
    exchange = Exchange(tower, group)
    whole = network.layers[-1].name
    for layer in network.layers:
        stage = network.get_submodule(layer.name)
        if exchanged_before(layer):
            alike = layer.name == whole

            def both(_module: nn.Module, inputs: tuple[Tensor], alike: bool = alike) -> Tensor:
                return BothTowers.apply(inputs[0], exchange, alike)  # type: ignore[return-value]

            stage.register_forward_pre_hook(both)
        if layer.name == whole:
            continue
        match stage:
            case nn.Conv2d():
                stage.out_channels //= 2
                if layer.groups == 2:
                    stage.groups, stage.in_channels = 1, stage.in_channels // 2
            case nn.Linear():
                stage.out_features //= 2
            case GroupedLinear():
                stage.groups, stage.in_features, stage.out_features = 1, stage.in_features // 2, stage.out_features // 2
            case LocalResponseNorm():
                stage.groups = 1
        for name, value in list(stage.named_parameters(recurse=False)):
            setattr(stage, name, nn.Parameter(own_half(value.detach(), tower).clone()))
    return exchange


def check_divisible(network: AlexNet) -> None:
    """ValueError unless the network consists of two towers."""
    if network.network.towers != 2:
        raise ValueError("This network has one tower; --parallel towers needs one with two, as the paper's.")
    if network.network.lrn == "across-towers":
        raise ValueError("This network's normalisation crosses the towers; it cannot be split into two.")


def exchanged_before(layer: Layer) -> bool:
    """Whether the towers exchange activations before this layer: it sees both, and not the image itself."""
    return bool(layer.weight_shape) and layer.groups == 1 and layer.name != "conv1"


def own_half(value: Tensor, tower: int) -> Tensor:
    """The rows of a whole weight or bias that belong to a tower."""
    return value.chunk(2)[tower]


def own_part(network: AlexNet, name: str, value: Tensor, exchange: Exchange | None) -> Tensor:
    """What this process holds of the whole parameter (or velocity) called `name`."""
    if exchange is None or name.startswith(f"{network.layers[-1].name}."):
        return value
    return own_half(value, exchange.tower)


def whole_values(
    network: AlexNet, values: Iterable[tuple[str, Tensor]], exchange: Exchange | None
) -> dict[str, Tensor]:
    """Parameters (or velocities) of the whole network from those of its towers; both towers must ask at once."""
    if exchange is None:
        return dict(values)
    kept = f"{network.layers[-1].name}."
    return {n: v if n.startswith(kept) else torch.cat(exchange.gather(v.detach())) for n, v in values}


def share_dropout(network: AlexNet, images: int, first_image: int, tower: int | None) -> None:
    """Let this process draw the masks of the whole batch of `images`, and use those of its own part."""
    for layer in network.layers:
        stage = network.get_submodule(layer.name)
        if isinstance(stage, Dropout):
            units = layer.outputs[0]
            stage.whole = (images, units)
            stage.at = first_image, (tower or 0) * units // 2


def bytes_exchanged(network: AlexNet, images: int, bytes_per_number: int) -> int:
    """What each tower sends the other in one training step of a batch, worked out from the shapes.

    Its half of the activations before each exchange, and as much gradient on the way back, but for the last layer.
    """
    total = 0
    for layer in network.layers:
        if exchanged_before(layer):
            times = 1 if layer is network.layers[-1] else 2
            total += images * math.prod(layer.inputs) // 2 * times
    return total * bytes_per_number
