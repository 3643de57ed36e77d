"""`alexnet bench kernels`: the layers that have kernels of our own, each beside its limit and beside plain PyTorch.

The limit of normalisation, pooling and the update is a copy of the bytes that they must read and write. The limit of
conv1 and fc6 is their number of operations at the speed of a convolution that suits the machine.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.bench import limits
from alexnet.bench.measure import Rate, alternate, forget_peak, machine, peak_memory
from alexnet.model.convolution import Conv2d
from alexnet.model.cpu import kernels
from alexnet.model.linear import Linear
from alexnet.model.lrn import LocalResponseNorm, lrn_plain
from alexnet.model.pooling import MaxPool2d
from alexnet.model.spatial_norm import SpatialNorm, spatial_norm_plain
from alexnet.model.stage import relu_norm_pool
from alexnet.training.device import choose_dtype, precision

CPU = torch.device("cpu")
SECONDS = 0.2
"""How long each form is repeated in a round."""
Function = Callable[[Tensor], Tensor]
Forms = dict[str, tuple[Callable[[], object], float]]
"""What `alternate` measures, as "LAYER: ours" and "LAYER: plain"."""
Line = dict[str, float | str | None]
"""A row of the table, as JSON values."""


class MemoryBound(NamedTuple):
    """A layer that reads and writes more than it computes."""

    name: str
    ours: Function
    plain: Function
    forward: float
    """Bytes that must be read and written, as a multiple of the input's."""
    with_gradient: float


def kernels_alone(batch: int = 64, dtype: str = "auto", rounds: int = 5, side: int = 55, channels: int = 96) -> dict:
    """The compiled kernels, forward and with the gradient, on [batch, channels, side, side] (conv1's output).

    Images per second are those of all memory-bound layers, one after the other. See `alexnet.bench.bench.bench`.

    Raises ValueError where there are no compiled kernels.
    """
    if not kernels.available():
        raise ValueError("The compiled kernels are not available here: install a C++ compiler such as g++.")
    kernels.reuse_memory()
    form = choose_dtype(dtype, CPU)
    x = torch.randn(batch, channels, side, side).mul_(40).to(form).contiguous(memory_format=torch.channels_last)
    forget_peak(CPU)
    lines, copied = _memory_bound_lines(x, rounds)
    layers = [line for line in lines if line["name"] != "update"]
    taken, least = (sum(float(each[key] or 0) for each in layers) for key in ("milliseconds", "limit_milliseconds"))
    return {
        "what": "kernels",
        "images_per_second": 1000 * batch / taken,
        "limit_images_per_second": 1000 * batch / least,
        "fraction_of_limit": least / taken,
        "limit": "a copy of the bytes each must read and write; for conv1 and fc6, a 3x3 convolution of 512 channels",
        "dtype": str(form).removeprefix("torch."),
        "batch": batch,
        "rounds": rounds,
        "kernels": [*lines, *_gemm_lines(batch, form, rounds)],
        "copied_gigabytes_per_second": copied / 1e9,
        "peak_memory_bytes": peak_memory(CPU),
        "machine": machine(CPU),
    }


def _memory_bound_layers() -> list[MemoryBound]:
    relu, norm, pool, spatial = nn.ReLU(), LocalResponseNorm(), MaxPool2d(), SpatialNorm()

    def plain_norm(x: Tensor) -> Tensor:
        return lrn_plain(x, norm.size, norm.alpha, norm.beta, norm.k, norm.groups)

    def plain_pool(x: Tensor) -> Tensor:
        return F.max_pool2d(x, pool.kernel_size, pool.stride, ceil_mode=pool.ceil_mode)

    def stage(x: Tensor) -> Tensor:
        return relu_norm_pool(x, relu, norm, pool)

    def plain_stage(x: Tensor) -> Tensor:
        return plain_pool(plain_norm(x.relu()))

    def plain_spatial(x: Tensor) -> Tensor:
        return spatial_norm_plain(x, spatial.size, spatial.alpha, spatial.beta)

    return [
        MemoryBound("norm", norm, plain_norm, forward=2, with_gradient=5),
        MemoryBound("pool", pool, plain_pool, forward=1.25, with_gradient=2.5),
        MemoryBound("relu, norm, pool", stage, plain_stage, forward=1.25, with_gradient=3.5),
        MemoryBound("spatial norm", spatial, plain_spatial, forward=2, with_gradient=5),
    ]


def _memory_bound_lines(x: Tensor, rounds: int) -> tuple[list[Line], float]:
    """The layers that memory bounds, on x [B, C, H, W], and the update; and the bytes per second of a copy."""
    layers, batch = _memory_bound_layers(), len(x)
    forms: Forms = {"copy": limits.copying(CPU)}
    for layer in layers:
        for whose, function in (("ours", layer.ours), ("plain", layer.plain)):
            forms[f"{layer.name}: {whose}"] = (_forward(function, x), batch)
            forms[f"{layer.name} with gradient: {whose}"] = (_with_gradient(function, x), batch)
    w, v, g = (torch.randn(2**24) for _ in range(3))
    forms["update: ours"] = (lambda: kernels.momentum_update_(w, v, g, 1e-9, 0.9, 5e-4), 1)
    rates = alternate(forms, rounds, SECONDS)
    copied, input_bytes = rates["copy"].median, x.numel() * x.element_size()
    lines = [
        _line(f"{layer.name}{suffix}", rates, factor * input_bytes / copied, batch)
        for layer in layers
        for suffix, factor in (("", layer.forward), (" with gradient", layer.with_gradient))
    ]
    update_bytes = 5 * 4 * w.numel()  # reads w, v and g, writes w and v
    return [*lines, _line("update", rates, update_bytes / copied, 1)], copied


def _gemm_lines(batch: int, dtype: torch.dtype, rounds: int) -> list[Line]:
    """conv1 with the gradients of its weights, fc6 with those of its input too, in `dtype`.

    Training computes those of fc6's weights in the update.
    """
    conv1, fc6 = Conv2d(3, 96, 11, 4), Linear(9216, 4096)
    images = torch.randn(batch, 3, 227, 227, dtype=dtype).contiguous(memory_format=torch.channels_last)
    hidden = torch.randn(batch, 9216, dtype=dtype, requires_grad=True)
    forms: Forms = {"limit": limits.convolution(dtype, CPU)}
    operations = {"conv1": 4 * batch * 96 * 55 * 55 * 363, "fc6": 6 * batch * 9216 * 4096}
    for name, layer, x in (("conv1", conv1, images), ("fc6", fc6, hidden)):
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        leaves = [each for each in (x, *layer.parameters()) if each.requires_grad]
        plain = nn.Conv2d.forward if isinstance(layer, Conv2d) else nn.Linear.forward
        for whose, function in (("ours", type(layer).forward), ("plain", plain)):

            def work(layer: Any = layer, x: Tensor = x, leaves: list = leaves, function: Any = function) -> None:
                with precision(CPU, dtype):
                    y = function(layer, x)
                torch.autograd.grad(y, leaves, torch.ones_like(y))

            forms[f"{name} with gradients: {whose}"] = (work, 1)
    rates = alternate(forms, rounds, SECONDS)
    return [_line(f"{name} with gradients", rates, n / rates["limit"].median, 1) for name, n in operations.items()]


def _line(name: str, rates: dict[str, Rate], limit_seconds: float, units: float) -> Line:
    """The row of `name`: one call does `units` units of work, and could take `limit_seconds`."""
    ours, plain = rates[f"{name}: ours"], rates.get(f"{name}: plain")
    return {
        "name": name,
        "milliseconds": 1000 * units / ours.median,
        "limit_milliseconds": 1000 * limit_seconds,
        "fraction_of_limit": limit_seconds * ours.median / units,
        "plain_milliseconds": 1000 * units / plain.median if plain else None,
    }


def _forward(function: Function, x: Tensor) -> Callable[[], None]:
    def work() -> None:
        with torch.inference_mode():
            function(x)

    return work


def _with_gradient(function: Function, x: Tensor) -> Callable[[], None]:
    leaf = x.detach().requires_grad_()
    g = torch.ones_like(function(leaf))

    def work() -> None:
        torch.autograd.grad(function(leaf), leaf, g)

    return work
