"""What a training step on a GPU is made of: operations with a forward pass, a backward pass and an update.

Activations are in `Towers`: a list of tensors [B, H, W, C], one per tower, or one for both, whose channels are adjacent
in memory. So cuDNN computes a grouped convolution as one convolution per tower, which is much faster than its own
grouped ones. Between convolutions one pass adds the bias, applies what follows, and writes each tower where the next
convolution wants it. Channels may be padded with zeros to a number that fills the tensor cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.model.cuda import spatial_norm, stage, update
from alexnet.model.cuda.dropout import dropout_
from alexnet.model.cuda.stage import Stages
from alexnet.model.layers import Layer

Towers = list[Tensor]


class Operation(Protocol):
    """One step of the network. Each remembers from `forward` what its `backward` needs."""

    def forward(self, x: Towers) -> Towers: ...

    def backward(self, g: Towers) -> Towers:
        """The gradient of the input; an empty list where there is none."""
        ...


class Parameter:
    """A parameter of the network in float32, its velocity, and its learning rate and weight decay on the device."""

    def __init__(self, w: Tensor, velocity: Tensor, rates: Tensor, momentum: float) -> None:
        self.w, self.velocity, self.rates, self.momentum = w, velocity, rates, momentum
        self.update: Callable[[], None] | None = None
        """Applies the gradient that a backward pass has left."""


class Weight:
    """The weight of a convolution, or of any module, as its operand.

    `positions` int64, shaped as the weight: where each element lies in the operand, whose other elements are 0.
    """

    def __init__(self, parameter: Parameter, positions: Tensor, shape: Sequence[int], dtype: torch.dtype) -> None:
        w = parameter.w
        self.parameter = parameter
        self.operand = torch.zeros(tuple(shape), dtype=dtype, device=w.device)
        self.positions = torch.empty_like(w, dtype=torch.int32).copy_(positions)
        values = w.detach().flatten().to(dtype)
        self.operand.view(-1)[self.positions.flatten().long()] = values

    def updates_from(self, g: list[Tensor]) -> None:
        p = self.parameter
        p.update = lambda: update.update_weight(p.w, p.velocity, g, self.operand, self.positions, p.rates, p.momentum)


class Bias:
    """A bias as its operand in float32 or in the activations' number format, and the sums of its gradient."""

    def __init__(self, parameter: Parameter, dtype: torch.dtype) -> None:
        self.parameter = parameter
        self.operand = parameter.w.detach().to(dtype).clone()

    def updates_from(self, parts: Tensor) -> None:
        p = self.parameter
        p.update = lambda: update.update_bias(p.w, p.velocity, parts, self.operand, p.rates, p.momentum)


class Convolution:
    """A convolution, per tower; with its bias and the ReLU after it where no pass follows that adds them."""

    def __init__(
        self, layer: Layer, weight: Parameter, bias: Bias, channels: int, after: str, dtype: torch.dtype, first: bool
    ) -> None:
        """`channels` per tower that the input has in memory; `after`: what this adds, "relu", "bias" or "nothing";
        `first`: the input is an image in blocks of `stride` x `stride` pixels, with the padding in it."""
        self.groups, self.after, self.bias, self.first = layer.groups, after, bias, first
        outputs, inputs, size, _ = weight.w.shape
        per_tower = outputs // layer.groups
        o, i, y, x = (torch.arange(n).view(-1, *[1] * (3 - d)) for d, n in enumerate((outputs, inputs, size, size)))
        self.padding, self.stride = layer.padding, layer.stride
        if first:
            side = layer.stride
            i, y, x = (y % side * side + x % side) * inputs + i, y // side, x // side
            size, self.padding, self.stride = -(-size // side), 0, 1
        shape = layer.groups, per_tower, size, size, channels
        positions = ((o * size + y) * size + x) * channels + i
        self.weight = Weight(weight, positions.expand(weight.w.shape), shape, dtype)

    def forward(self, x: Towers) -> Towers:
        self.given = len(x)
        self.x = [t.permute(0, 3, 1, 2) for t in regroup(x, self.groups)]
        kernels = [w.permute(0, 3, 1, 2) for w in self.weight.operand]
        biases: Sequence[Tensor | None] = [None] * self.groups
        if self.after != "nothing":
            biases = self.bias.operand.chunk(self.groups)
        y = [self._convolve(*each) for each in zip(self.x, kernels, biases, strict=True)]
        self.y = [t.permute(0, 2, 3, 1) for t in y]
        return self.y

    def _convolve(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        if self.after == "relu":
            assert bias is not None
            if x.is_cuda:
                sides = [self.stride] * 2, [self.padding] * 2, [1, 1]
                return torch.cudnn_convolution_relu(x, w, bias, *sides, 1)
            return F.conv2d(x, w, bias, self.stride, self.padding).relu_()
        return F.conv2d(x, w, bias, self.stride, self.padding)

    def backward(self, g: Towers) -> Towers:
        g = regroup(g, self.groups)
        if self.after != "nothing":
            stages = Stages("first" if self.after == "relu" else "")
            parts = stage.bias_parts(self.y, stages)
            stage.backward(self.y, None, g, None, g, parts, stages)
            self.bias.updates_from(parts)
        back, gradients = [], []
        for x, g_tower, w in zip(self.x, g, self.weight.operand, strict=True):
            gx, gw, _ = torch.ops.aten.convolution_backward(
                *(g_tower.permute(0, 3, 1, 2), x, w.permute(0, 3, 1, 2), None),
                *([self.stride] * 2, [self.padding] * 2, [1, 1], False, [0, 0], 1, [not self.first, True, False]),
            )
            back.append(gx.permute(0, 2, 3, 1) if gx is not None else gx)
            gradients.append(gw.permute(0, 2, 3, 1).contiguous())
        self.weight.updates_from(gradients)
        return [] if self.first else regroup(back, self.given)


class Pass:
    """Bias, ReLU, normalisation and pooling, each where wanted, in one pass: from a convolution to the next layer.

    `towers`: normalisation windows do not cross them. `wanted`: the towers that the next layer reads, or 0 for a fully
    connected layer, which reads [B, C H W].
    """

    def __init__(
        self,
        stages: Stages,
        bias: Bias | None,
        batch: int,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        towers: int,
        wanted: int,
        dtype: torch.dtype,
        device: torch.device,
        training: bool,
    ) -> None:
        channels, height, width = outputs
        self.stages, self.bias, self.towers, self.inputs = stages, bias, towers, inputs
        self.per_tower = channels // towers
        room = {"dtype": dtype, "device": device}
        if wanted == 0:
            flat = torch.zeros(batch, channels, height, width, **room)  # type: ignore[call-overload]
            self.y = [flat.view(batch, -1)]
            self.views = list(flat.permute(0, 2, 3, 1).chunk(towers, 3))
        elif wanted == towers:
            shape = batch, height, width, padded(self.per_tower)
            self.y = [torch.zeros(shape, **room) for _ in range(towers)]  # type: ignore[call-overload]
            self.views = [t[..., : self.per_tower] for t in self.y]
        else:
            self.y = [torch.zeros(batch, height, width, channels, **room)]  # type: ignore[call-overload]
            self.views = list(self.y[0].chunk(towers, 3))
        self.index: Tensor | None = None
        if training and (stages.window > 1 or stages.relu == "last"):
            index = towers, batch, height, width, self.per_tower
            self.index = torch.empty(index, dtype=torch.uint8, device=device)

    def forward(self, x: Towers) -> Towers:
        self.given = x
        self.x = self._split([t[..., : self.inputs[0] // len(x)] for t in x])
        stage.forward(self.x, self._bias, self.views, self.index, self.stages)
        return self.y

    def backward(self, g: Towers) -> Towers:
        if g[0].dim() == 2:
            channels = self.per_tower * self.towers
            g = [g[0].view(len(g[0]), channels, *self.views[0].shape[1:3]).permute(0, 2, 3, 1)]
        each = self._split([t[..., : self.per_tower * self.towers // len(g)] for t in g])
        parts = stage.bias_parts(self.x, self.stages) if self.bias else None
        room = torch.zeros_like if self.given[0].shape[3] * len(self.given) > self.inputs[0] else torch.empty_like
        dx = [room(t, memory_format=torch.contiguous_format) for t in self.given]
        split = self._split([t[..., : self.inputs[0] // len(dx)] for t in dx])
        stage.backward(self.x, self._bias, each, self.index, split, parts, self.stages)
        if self.bias and parts is not None:
            self.bias.updates_from(parts)
        return dx if len(dx) <= self.towers else regroup(split, len(dx))

    @property
    def _bias(self) -> Tensor | None:
        return self.bias.operand if self.bias else None

    def _split(self, towers: Towers) -> Towers:
        """The same, one per tower of this pass: views where possible."""
        if len(towers) == 1 and self.towers > 1:
            return list(towers[0].chunk(self.towers, 3))
        return regroup(towers, self.towers)


class SpatialNorm:
    """Normalisation within maps."""

    def __init__(self, size: int, alpha: float) -> None:
        self.size, self.alpha = size, alpha

    def forward(self, x: Towers) -> Towers:
        self.x, y = x, [torch.empty_like(t) for t in x]
        for each, out in zip(x, y, strict=True):
            spatial_norm.forward(each, out, self.size, self.alpha)
        return y

    def backward(self, g: Towers) -> Towers:
        dx = [torch.empty_like(t) for t in g]
        for each in zip(self.x, g, dx, strict=True):
            spatial_norm.backward(*each, self.size, self.alpha)
        return dx


class FullyConnected:
    """A fully connected layer, with the ReLU and dropout after it: [B, in] to [B, out]."""

    def __init__(self, weight: Parameter, bias: Bias, relu: bool, dropout: Dropout | None, dtype: torch.dtype) -> None:
        self.weight, self.bias, self.relu, self.dropout = weight, bias, relu, dropout
        self.operand = weight.w.detach().to(dtype).clone()
        assert self.operand.is_contiguous()

    def forward(self, x: Towers) -> Towers:
        (self.x,) = flat(x)
        if self.relu:
            y = torch._addmm_activation(self.bias.operand, self.x, self.operand.t())
        else:
            y = torch.addmm(self.bias.operand, self.x, self.operand.t())
        self.y = y
        return self.dropout.forward([y]) if self.dropout else [y]

    def backward(self, g: Towers) -> Towers:
        (g_y,) = g
        maps, g_maps = ([t.view(len(t), 1, 1, -1)] for t in (self.y, g_y))
        stages = Stages("first" if self.relu else "")
        parts = stage.bias_parts(maps, stages)
        scale = self.dropout.scale if self.dropout else 1.0  # where dropped, y is 0, as where the ReLU is
        stage.backward(maps, None, g_maps, None, g_maps, parts, stages, scale)
        self.bias.updates_from(parts)
        p = self.weight
        p.update = lambda: update.update_matrix(p.w, p.velocity, self.x, g_y, self.operand, p.rates, p.momentum)
        return [g_y @ self.operand]


class Dropout:
    """Dropout in place, of [B, units]; after a ReLU its gradient is that of the ReLU."""

    def __init__(self, module: Any, layer: int, seed: Tensor, training: bool) -> None:
        self.module, self.layer, self.seed, self.training = module, layer, seed, training
        self.scale = 1 / (1 - module.p) if module.inverted else 1.0

    def forward(self, x: Towers) -> Towers:
        if self.training:
            dropout_(x[0], self.seed, self.layer, self.module.p, self.scale)
        elif not self.module.inverted:
            x[0].mul_(1 - self.module.p)
        return x

    def backward(self, g: Towers) -> Towers:
        return self.forward([g[0].contiguous()])


class Module:
    """Any module, by PyTorch's operations and autograd."""

    def __init__(self, module: nn.Module, parameters: dict[str, Parameter], inputs: int, dtype: torch.dtype) -> None:
        """`inputs`: its channels or units, without those that only fill memory."""
        self.module, self.inputs = module, inputs
        self.weights = {
            name: Weight(p, torch.arange(p.w.numel()).view(p.w.shape), p.w.shape, dtype)
            for name, p in parameters.items()
        }

    def forward(self, x: Towers) -> Towers:
        (whole,) = regroup([t[..., : self.inputs // len(x)] for t in x], 1)
        self.given, self.maps = len(x), whole.dim() == 4
        self.x = (whole.permute(0, 3, 1, 2) if self.maps else whole).detach().requires_grad_()
        self.leaves = {name: weight.operand.detach().requires_grad_() for name, weight in self.weights.items()}
        with torch.enable_grad():
            y = torch.func.functional_call(self.module, self.leaves, (self.x.clone(),))  # some work in place
            self.y = y
        y = self.y.detach()
        return [y.permute(0, 2, 3, 1).contiguous() if y.dim() == 4 else y]

    def backward(self, g: Towers) -> Towers:
        (whole,) = regroup(g, 1)
        whole = whole.permute(0, 3, 1, 2) if whole.dim() == 4 else whole.view(self.y.shape)
        gx, *gradients = torch.autograd.grad(self.y, [self.x, *self.leaves.values()], whole)
        for weight, gradient in zip(self.weights.values(), gradients, strict=True):
            weight.updates_from([gradient.contiguous()])
        return regroup([gx.permute(0, 2, 3, 1).contiguous()], self.given) if self.maps else [gx]


def regroup(x: Towers, towers: int) -> Towers:
    """The same channels in so many tensors, by copying where the number differs."""
    if len(x) == towers:
        return x
    if towers == 1:
        return [torch.cat(x, -1)]
    return [t.contiguous() for t in x[0].chunk(towers, -1)]


def flat(x: Towers) -> Towers:
    """[B, C H W] in the order of channels, lines and pixels."""
    (whole,) = regroup(x, 1)
    return [whole if whole.dim() == 2 else whole.permute(0, 3, 1, 2).flatten(1).contiguous()]


def padded(channels: int) -> int:
    """Channels in memory: cuDNN's fastest convolutions read 64 or a multiple of 16 at a time."""
    return 64 if 32 < channels < 64 else -(-channels // 16) * 16
