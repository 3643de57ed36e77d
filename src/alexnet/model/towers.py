"""The network's two towers, one per process (paper, sections 3.2 and 3.5; docs/specification.md, "Two GPUs").

Each process holds one tower: the first or the second half of the kernels and units, that is of the rows of every weight
and bias. Both see the same images. They exchange activations only before the layers that see both towers (paper: conv3,
fc6, fc7, fc8); in the backward pass each receives its part of the gradient from the other's kernels. Both hold and
compute the last layer whole, because the softmax needs it whole and it is small, so its gradient is not exchanged.

The network itself does not know: `split_towers` halves its layers and adds the exchange as hooks.
"""

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alexnet.model.dropout import Dropout
from alexnet.model.layers import Layer
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.network import AlexNet
from alexnet.model.unshared import GroupedLinear


class Exchange:
    """Communication between the two towers; `sent` counts the bytes that this one has sent."""

    def __init__(self, tower: int, group: dist.ProcessGroup) -> None:
        self.tower, self.group, self.sent = tower, group, 0

    def gather(self, mine: Tensor) -> list[Tensor]:
        """The tensor `mine` of each tower, the first tower's first."""
        mine = mine.contiguous()
        both = [torch.empty_like(mine) for _ in range(2)]
        dist.all_gather(both, mine, group=self.group)
        self.sent += mine.nbytes
        return both

    def swap(self, halves: tuple[Tensor, Tensor]) -> Tensor:
        """Send each tower its half; the sum of both towers' halves for this one."""
        sent = torch.stack(halves)
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self.group)
        self.sent += halves[0].nbytes
        return received[0] + received[1]


class BothTowers(torch.autograd.Function):
    """Activations of this tower to those of both: [B, C / 2, ...] to [B, C, ...].

    `replicated`: both towers compute the layer that follows, so each has the whole gradient already.
    """

    @staticmethod
    def forward(ctx, x: Tensor, exchange: Exchange, replicated: bool) -> Tensor:
        ctx.exchange, ctx.replicated = exchange, replicated
        return channels_second(torch.cat(exchange.gather(channels_last(x)), dim=-1))

    @staticmethod
    def backward(ctx, g: Tensor):
        halves = channels_last(g).chunk(2, dim=-1)
        mine = halves[ctx.exchange.tower] if ctx.replicated else ctx.exchange.swap(halves)
        return channels_second(mine), None, None


def channels_last(x: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H, W, C], its order in memory; [B, C] as it is."""
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def channels_second(x: Tensor) -> Tensor:
    """The inverse of `channels_last`."""
    return x.permute(0, 3, 1, 2) if x.dim() == 4 else x


def split_towers(network: AlexNet, tower: int, group: dist.ProcessGroup) -> Exchange:
    """Leave only tower 0 or 1 of `network`, with its half of the weights, exchanging with the other over `group`.

    Raises ValueError for a network without two towers.
    """
    check_divisible(network)
    exchange = Exchange(tower, group)
    last = network.layers[-1].name
    for layer in network.layers:
        stage = network.get_submodule(layer.name)
        if exchanged_before(layer):

            def both_towers(_module: nn.Module, inputs: tuple[Tensor], replicated: bool = layer.name == last) -> Tensor:
                return BothTowers.apply(inputs[0], exchange, replicated)  # type: ignore[return-value]

            stage.register_forward_pre_hook(both_towers)
        if layer.name != last:
            halve(stage, layer, tower)
    return exchange


def halve(stage: nn.Module, layer: Layer, tower: int) -> None:
    """Leave only one tower's kernels or units of a stage."""
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


def check_divisible(network: AlexNet) -> None:
    """Raises ValueError unless the network consists of two towers."""
    if network.network.towers != 2:
        raise ValueError("This network has one tower; --parallel towers needs one with two, like the paper's.")
    if network.network.lrn == "across-towers":
        raise ValueError("This network's normalisation crosses the towers; it cannot be split into two.")


def exchanged_before(layer: Layer) -> bool:
    """Whether the towers exchange activations before this layer: it sees both of them, and is not conv1."""
    return bool(layer.weight_shape) and layer.groups == 1 and layer.name != "conv1"


def own_half(value: Tensor, tower: int) -> Tensor:
    """A tower's rows of a whole weight or bias."""
    return value.chunk(2)[tower]


def own_part(network: AlexNet, name: str, value: Tensor, exchange: Exchange | None) -> Tensor:
    """This process's part of the whole parameter (or velocity) called `name`."""
    if exchange is None or name.startswith(f"{network.layers[-1].name}."):
        return value
    return own_half(value, exchange.tower)


def whole_values(
    network: AlexNet, values: Iterable[tuple[str, Tensor]], exchange: Exchange | None
) -> dict[str, Tensor]:
    """Parameters (or velocities) of the whole network, from those of its towers. Both towers must call it together."""
    if exchange is None:
        return dict(values)
    last = f"{network.layers[-1].name}."
    return {n: v if n.startswith(last) else torch.cat(exchange.gather(v.detach())) for n, v in values}


def share_dropout(network: AlexNet, images: int, first_image: int, tower: int | None) -> None:
    """Draw dropout masks for the whole batch of `images` and both towers; use this process's part of them."""
    for layer in network.layers:
        stage = network.get_submodule(layer.name)
        if isinstance(stage, Dropout):
            units = layer.outputs[0]
            stage.mask_shape = images, units
            stage.mask_offset = first_image, (tower or 0) * units // 2


def bytes_exchanged(network: AlexNet, images: int, bytes_per_number: int) -> int:
    """Bytes that each tower sends the other in one training step, computed from the shapes.

    Half of the activations in each exchange, and as much gradient in the backward pass, except for the last layer.
    """
    total = 0
    for layer in network.layers:
        if exchanged_before(layer):
            times = 1 if layer is network.layers[-1] else 2
            total += images * math.prod(layer.inputs) // 2 * times
    return total * bytes_per_number
