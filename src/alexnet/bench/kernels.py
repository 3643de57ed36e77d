"""`alexnet bench kernels`: the layers that have kernels of our own, each beside its limit and beside plain PyTorch.

The limit is a copy of as many bytes for what memory bounds, and for products (conv1 and fc6) a convolution that suits
the machine.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet.bench import limits
from alexnet.bench.measure import alternate, forget_peak, machine, peak_memory
from alexnet.model.convolution import Conv2d
from alexnet.model.cpu import kernels
from alexnet.model.linear import Linear
from alexnet.model.lrn import LocalResponseNorm, lrn_plain
from alexnet.model.pooling import MaxPool2d
from alexnet.model.spatial_norm import SpatialNorm, spatial_norm_plain
from alexnet.model.stage import relu_norm_pool
from alexnet.training.device import choose_dtype, precision

CPU = torch.device("cpu")
Function = Callable[[Tensor], Tensor]


def kernels_alone(batch: int = 64, dtype: str = "auto", rounds: int = 5, side: int = 55, channels: int = 96) -> dict:
    """The compiled kernels, forward and with the gradient, on [batch, channels, side, side] (conv1's output).

    Images per second are those of all that memory bounds, one after the other. See `alexnet.bench.bench.bench`.
    """
    if not kernels.available():
        raise ValueError("The compiled kernels are not available here: install a C++ compiler such as g++.")
    kernels.reuse_memory()
    form = choose_dtype(dtype, CPU)
    relu, norm, pool, spatial = torch.nn.ReLU(), LocalResponseNorm(), MaxPool2d(), SpatialNorm()

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

    # Name, ours, plain PyTorch, and what must be read and written, as multiples of the input: forward, with gradient.
    layers: list[tuple[str, Function, Function, float, float]] = [
        ("norm", norm, plain_norm, 2, 5),
        ("pool", pool, plain_pool, 1.25, 2.5),
        ("relu, norm, pool", stage, plain_stage, 1.25, 3.5),
        ("spatial norm", spatial, plain_spatial, 2, 5),
    ]
    x = torch.randn(batch, channels, side, side).mul_(40).to(form).contiguous(memory_format=torch.channels_last)
    forget_peak(CPU)
    copy, moved = limits.copying(CPU)
    forms: dict[str, tuple[Callable[[], object], float]] = {"copy": (copy, moved)}
    for name, ours, plain, _, _ in layers:
        for whose, function in (("ours", ours), ("plain", plain)):
            forms[f"{name}: {whose}"] = (_forward(function, x), batch)
            forms[f"{name} with gradient: {whose}"] = (_with_gradient(function, x), batch)
    w, v, g = (torch.randn(2**24) for _ in range(3))
    forms["update: ours"] = (lambda: kernels.momentum_update_(w, v, g, 1e-9, 0.9, 5e-4), 1)
    rates = alternate(forms, rounds, seconds=0.2)

    def line(name: str, moved_bytes: float, units: float) -> dict[str, float | str | None]:
        ours, plain = rates[f"{name}: ours"], rates.get(f"{name}: plain")
        least = moved_bytes / rates["copy"].median
        return {
            "name": name,
            "milliseconds": 1000 * units / ours.median,
            "limit_milliseconds": 1000 * least,
            "fraction_of_limit": least * ours.median / units,
            "plain_milliseconds": 1000 * units / plain.median if plain else None,
        }

    input_bytes = x.numel() * x.element_size()
    lines = [
        line(f"{name}{suffix}", factor * input_bytes, batch)
        for name, _, _, forward, backward in layers
        for suffix, factor in (("", forward), (" with gradient", backward))
    ]
    taken, least = (sum(float(each[key] or 0) for each in lines) for key in ("milliseconds", "limit_milliseconds"))
    lines += [line("update", 5 * 4 * w.numel(), 1), *_products(batch, form, rounds)]
    return {
        "what": "kernels",
        "images_per_second": 1000 * batch / taken,
        "limit_images_per_second": 1000 * batch / least,
        "fraction_of_limit": least / taken,
        "limit": "a copy of as many bytes as each must read and write; for products, a 3x3 convolution of 512 channels",
        "dtype": str(form).removeprefix("torch."),
        "batch": batch,
        "rounds": rounds,
        "kernels": lines,
        "copied_gigabytes_per_second": rates["copy"].median / 1e9,
        "peak_memory_bytes": peak_memory(CPU),
        "machine": machine(CPU),
    }


def _products(batch: int, dtype: torch.dtype, rounds: int) -> list[dict[str, float | str | None]]:
    """conv1 with the gradients of its weights, fc6 with those of its input too, in `dtype`.

    Training multiplies those of fc6's weights in the update.
    """
    conv1, fc6 = Conv2d(3, 96, 11, 4), Linear(9216, 4096)
    images = torch.randn(batch, 3, 227, 227, dtype=dtype).contiguous(memory_format=torch.channels_last)
    hidden = torch.randn(batch, 9216, dtype=dtype, requires_grad=True)
    convolution, operations = limits.convolution(dtype, CPU)
    forms: dict[str, tuple[Callable[[], object], float]] = {"limit": (convolution, operations)}
    wanted = {"conv1": 4 * batch * 96 * 55 * 55 * 363, "fc6": 6 * batch * 9216 * 4096}  # operations
    for name, layer, x in (("conv1", conv1, images), ("fc6", fc6, hidden)):
        layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        leaves = [each for each in (x, *layer.parameters()) if each.requires_grad]
        plain = nn.Conv2d.forward if isinstance(layer, Conv2d) else nn.Linear.forward
        for whose, function in (("ours", type(layer).forward), ("plain", plain)):

            def work(layer: Any = layer, x: Tensor = x, leaves: list = leaves, function: Any = function) -> None:
                with precision(CPU, dtype):
                    y = function(layer, x)
                torch.autograd.grad(y, leaves, torch.ones_like(y))

            forms[f"{name}: {whose}"] = (work, 1)
    rates = alternate(forms, rounds, seconds=0.2)
    lines: list[dict[str, float | str | None]] = []
    for name, count in wanted.items():
        taken, least = 1 / rates[f"{name}: ours"].median, count / rates["limit"].median
        lines.append(
            {
                "name": f"{name} with gradients",
                "milliseconds": 1000 * taken,
                "limit_milliseconds": 1000 * least,
                "fraction_of_limit": least / taken,
                "plain_milliseconds": 1000 / rates[f"{name}: plain"].median,
            }
        )
    return lines


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
