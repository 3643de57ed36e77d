"""A training step on a GPU: a fixed list of operations on buffers that stay in place, as a CUDA graph needs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.model.cuda import NORM_SIZES, POOL
from alexnet.model.cuda import input as image_input
from alexnet.model.cuda.loss import cross_entropy
from alexnet.model.cuda.operations import (
    Bias,
    Convolution,
    Dropout,
    FullyConnected,
    Module,
    Operation,
    Parameter,
    Pass,
    SpatialNorm,
    padded,
)
from alexnet.model.cuda.stage import Stages
from alexnet.model.layers import Layer
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.network import AlexNet

CUDNN: dict[str, Any] = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
"""The same convolutions in every run, for exact continuation (the fastest of all are no faster: benchmarks/gpu); and
float32 is float32, not TensorFloat-32."""


class TrainingPlan:
    """Forward pass, backward pass and update of `network` on batches of one size.

    What changes from step to step is read from the device's memory: `crops` and `numbers`, a ring of batches (see
    `alexnet.model.cuda.input`); `slot` int64 [1], which of them; `seed` int64 [1] of dropout; `rates` float32 [P, 2],
    learning rate and weight decay of each parameter, in the network's order. `metrics` float32 [2] receives the mean
    loss and the top-1 error. Weights and velocities are changed in place.
    """

    def __init__(
        self,
        network: AlexNet,
        velocities: Sequence[Tensor],
        *,
        momentum: float,
        batch: int,
        slots: int,
        mean: Tensor,
        dtype: torch.dtype,
    ) -> None:
        device, crop = mean.device, network.network.input_size
        self.mean = mean.contiguous()
        self.crops = torch.zeros(slots, batch, crop, crop, 3, dtype=torch.uint8, device=device)
        self.numbers = torch.zeros(slots, batch, image_input.NUMBERS, device=device)
        self.slot, self.seed = (torch.zeros(1, dtype=torch.int64, device=device) for _ in range(2))
        weights = dict(network.named_parameters())
        self.rates = torch.zeros(len(weights), 2, device=device)
        self.metrics, self._each = torch.zeros(2, device=device), torch.zeros(2, batch, device=device)
        parameters = {
            name: Parameter(w.detach(), velocity, rates, momentum)
            for (name, w), velocity, rates in zip(weights.items(), velocities, self.rates, strict=True)
        }
        builder = Builder(network, parameters, batch, dtype, device, self.seed)
        self.operations = builder.operations
        self._parameters = list(parameters.values())
        self._x, self._side, self._padding = builder.input
        self._logits_gradient = torch.empty(batch, network.layers[-1].outputs[0], dtype=dtype, device=device)
        self._updates = torch.cuda.Stream(device) if device.type == "cuda" else None

    @torch.no_grad()
    def step(self) -> None:
        """Train on the batch in `slot`."""
        with torch.backends.cudnn.flags(**CUDNN):
            self._step()

    def _step(self) -> None:
        image_input.network_input(self.crops, self.numbers, self.mean, self.slot, self._x, self._side, self._padding)
        x = [self._x]
        for operation in self.operations:
            x = operation.forward(x)
        cross_entropy(x[0], self.numbers, self.slot, self._logits_gradient, self._each)
        g = [self._logits_gradient]
        in_use = list[object]()  # until the updates are done: the memory of a gradient must not be given away
        for operation in reversed(self.operations):
            g = operation.backward(g)
            in_use += [g, *self._update()]
        torch.mean(self._each, 1, out=self.metrics)  # while the last updates run
        if self._updates is not None:
            torch.cuda.current_stream().wait_stream(self._updates)

    def _update(self) -> list[Callable[[], None]]:
        """Start the updates whose gradients are there. They run beside the rest of the backward pass."""
        due = [p for p in self._parameters if p.update is not None]
        updates = [p.update for p in due if p.update is not None]
        if self._updates is not None:
            self._updates.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._updates):
            for update in updates:
                update()
        for parameter in due:
            parameter.update = None
        return updates


class Builder:
    """Turns the layers of a network into operations.

    `towers` and `channels` are the number of tensors that the next layer finds, and of the channels of each in memory.
    """

    def __init__(
        self,
        network: AlexNet,
        parameters: dict[str, Parameter],
        batch: int,
        dtype: torch.dtype,
        device: torch.device,
        seed: Tensor,
        *,
        training: bool = True,
    ) -> None:
        self.network, self.parameters, self.batch, self.dtype, self.device = network, parameters, batch, dtype, device
        self.seed, self.training = seed, training
        self.operations: list[Operation] = []
        layers = list(network.layers)
        self.input = self._input(layers)
        if layers[0].kind == "pad" and self.input[1] > 1:
            layers = layers[1:]
        self.towers, self.channels = 1, self.input[0].shape[3]
        while layers:
            layers = layers[self._add(layers) :]

    def _input(self, layers: list[Layer]) -> tuple[Tensor, int, int]:
        """Room for the input, its pixels' side in the image's, and the zeros on the left of and above the image."""
        conv = next(layer for layer in layers if layer.weight_shape)
        side, padding, size = 1, 0, layers[0].inputs[1]
        if conv.kind == "conv" and conv.stride > 1 and conv.groups == 1:
            side, padding = conv.stride, conv.padding
            size = conv.outputs[1] - 1 + -(-conv.kernel_size // side)
        shape = self.batch, size, size, padded(3 * side * side)
        return torch.zeros(shape, dtype=self.dtype, device=self.device), side, padding

    def _add(self, layers: list[Layer]) -> int:
        """Add what computes the first of `layers`, and perhaps some after it; how many."""
        layer = layers[0]
        is_first = not self.operations
        stages, count = fused(layers, self.network)
        if layer.kind == "conv":
            return self._convolution(layers, is_first and self.input[1] > 1)
        if count and len(layer.inputs) == 3:
            self._pass(stages, None, layers[:count], layers[count:])
            return count
        if layer.kind == "spatial norm":
            self.operations.append(SpatialNorm(layer.kernel_size, self.network.network.spatial_norm_alpha))
        elif layer.kind == "dropout":
            self.operations.append(self._dropout(layer))
        elif layer.kind == "fc" and layer.groups == 1:
            return self._fully_connected(layers)
        else:
            module = self.network.get_submodule(layer.name)
            own = {name: self.parameters[f"{layer.name}.{name}"] for name, _ in module.named_parameters()}
            inputs = math.prod(layer.inputs) if layer.kind == "fc" else layer.inputs[0]
            self.operations.append(Module(module, own, inputs, self.dtype))
            self.towers, self.channels = 1, layer.outputs[0]
        return 1

    def _convolution(self, layers: list[Layer], in_blocks: bool) -> int:
        layer, after = layers[0], layers[1:]
        stages, count = fused(after, self.network)
        then = after[1] if len(after) > 1 else None
        adds = "nothing" if count else "bias"
        if count == 1 and stages.relu and then is not None and then.kind == "conv" and then.groups == layer.groups:
            adds = "relu"
        bias = Bias(self.parameters[f"{layer.name}.bias"], torch.float32 if adds == "nothing" else self.dtype)
        weight = self.parameters[f"{layer.name}.weight"]
        channels = self.channels if self.towers == layer.groups else layer.inputs[0] // layer.groups
        operation = Convolution(layer, weight, bias, channels, adds, self.dtype, in_blocks)
        self.operations.append(operation)
        self.towers, self.channels = layer.groups, layer.outputs[0] // layer.groups
        if adds == "nothing":
            self._pass(stages, bias, after[:count], after[count:])
        return 1 + count

    def _pass(self, stages: Stages, bias: Bias | None, layers: list[Layer], after: list[Layer]) -> None:
        following = next((layer for layer in after if layer.weight_shape), None)
        is_map = following is not None and following.kind != "fc"
        wanted = (
            following.groups if following is not None and is_map else int(any(a.kind == "spatial norm" for a in after))
        )
        towers = max(self.towers, wanted)
        if stages.half:
            towers = next(layer.groups for layer in layers if layer.kind == "norm")
        sizes = layers[0].inputs, layers[-1].outputs
        operation = Pass(stages, bias, self.batch, *sizes, towers, wanted, self.dtype, self.device, self.training)
        self.operations.append(operation)
        self.towers, self.channels = len(operation.y), operation.y[0].shape[-1]

    def _fully_connected(self, layers: list[Layer]) -> int:
        layer, after = layers[0], layers[1:]
        relu = bool(after) and isinstance(self.network.get_submodule(after[0].name), nn.ReLU)
        drops = relu and len(after) > 1 and after[1].kind == "dropout"
        bias = Bias(self.parameters[f"{layer.name}.bias"], self.dtype)
        weight, dropout = self.parameters[f"{layer.name}.weight"], self._dropout(after[1]) if drops else None
        operation = FullyConnected(weight, bias, relu, dropout, self.dtype)
        self.operations.append(operation)
        return 1 + relu + drops

    def _dropout(self, layer: Layer) -> Dropout:
        number = [each.name for each in self.network.layers].index(layer.name)
        return Dropout(self.network.get_submodule(layer.name), number, self.seed, self.training)


def fused(layers: Sequence[Layer], network: AlexNet) -> tuple[Stages, int]:
    """The pass that computes the first of `layers`, and how many they are: a ReLU, normalisation, pooling, or several
    of these in this order, or with the ReLU last; 0 where the first is something else."""
    settings: dict[str, Any] = {}
    count = 0
    for layer in layers:
        module: Any = network.get_submodule(layer.name)
        if isinstance(module, nn.ReLU) and "relu" not in settings:
            settings["relu"] = "last" if settings else "first"
        elif isinstance(module, LocalResponseNorm) and not {"half", "window"} & settings.keys() and is_usual(module):
            settings |= {"half": module.size // 2, "alpha": module.alpha, "k": module.k}
        elif layer.kind == "pool" and "window" not in settings and max(layer.kernel_size, layer.stride) <= POOL:
            settings |= {"window": layer.kernel_size, "stride": layer.stride}
        else:
            break
        count += 1
        if settings.get("relu") == "last":
            break
    return Stages(**settings), count


def is_usual(norm: LocalResponseNorm) -> bool:
    """Whether the kernels compute this normalisation."""
    return norm.beta == 0.75 and norm.size in NORM_SIZES
