"""Loads and calls `kernels.cpp`: memory-bound layers, and convolutions and GEMMs that oneDNN is slow at, on CPUs.

Without a compiler (see `alexnet.native`) everything runs in plain PyTorch; `ALEXNET_KERNELS=off` asks for that.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from alexnet.native import library as native

SOURCE = Path(__file__).with_name("kernels.cpp")
_BASIC = ("-O3", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
# The first that the compiler accepts: with all instructions of this processor and all cores, then with less.
_MORE = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())
FLAGS = tuple((*_BASIC, "-shared", "-fPIC", *more) for more in _MORE)
F = TypeVar("F", bound=Callable[..., object])
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def load() -> native.Library:
    """The compiled kernels, built where the cache has none. Raises UnavailableError."""
    return native.load(SOURCE, FLAGS)


@functools.cache
def _loaded() -> native.Library | None:
    slower = "Normalisation, max pooling, conv1 and the update run in plain PyTorch, several times slower"
    return native.load_or_warn(load, f"{slower}: the compiled kernels are not available")


def library() -> native.Library | None:
    """The compiled kernels; None where they are turned off or unavailable (then one warning says why)."""
    return None if native.is_off() else _loaded()


def constant(function: F) -> F:
    """`torch.compiler.assume_constant_result`, without importing the compiler at every start."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant
def available() -> bool:
    """Whether the kernels can be called."""
    return library() is not None


@constant
def has(name: str, dtype: torch.dtype) -> bool:
    """Whether there is a kernel `name` for `dtype` on this processor."""
    kernels = library()
    return kernels is not None and dtype in DTYPES and _full_name(name, dtype) in kernels


def _full_name(name: str, dtype: torch.dtype) -> str:
    return f"{name}_{DTYPES[dtype]}"


def instruction_sets() -> str:
    """What the kernels are compiled for: "AVX-512, bf16 dot products", "AVX2", ...; without them "plain PyTorch"."""
    kernels = library()
    if kernels is None:
        return "plain PyTorch"
    dot_products = ", bf16 dot products" if has("linear", torch.bfloat16) else ""
    return kernels.instruction_set().decode() + dot_products


def threads(device: torch.device) -> native.Threads | None:
    """The kernels' threads, which torch uses too, for other work; None where `device` is no CPU or there are none."""
    kernels = library() if device.type == "cpu" else None
    if kernels is None or "each" not in kernels:  # built without OpenMP
        return None
    return native.Threads(kernels.address("each"), torch.get_num_threads())


def usable(x: Tensor) -> bool:
    """Whether the kernels take this tensor; never where only PyTorch's operations will do (`plain_only`)."""
    return x.dtype in DTYPES and _is_dense(x) and not plain_only() and available()


def has_onednn(x: Tensor) -> bool:
    """Whether oneDNN can compute matrix multiplications and convolutions with `x`."""
    return _is_dense(x) and not plain_only() and onednn_there()


def _is_dense(x: Tensor) -> bool:
    """Whether x lies in a CPU's memory with strides: not sparse, and not in a layout of oneDNN's own."""
    return x.device.type == "cpu" and x.layout == torch.strided


@constant
def onednn_there() -> bool:
    """Whether PyTorch was built with oneDNN and has the operators that torch.compile uses."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def computed_in(x: Tensor) -> torch.dtype:
    """The dtype in which matrix multiplications and convolutions with `x` are computed: autocast's or that of `x`.

    Autocast changes neither float64 nor integers.
    """
    kind = x.device.type
    casts = kind == "cpu" and torch.is_autocast_enabled(kind) and x.is_floating_point() and x.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if casts else x.dtype


def multiplied_in(x: Tensor, *weights: Tensor | None) -> torch.dtype | None:
    """The dtype in which `x` meets its weights; None where they differ in it, or are not all in a CPU's memory."""
    dtype = computed_in(x)
    for each in (x, *weights):
        if each is not None and (not _is_dense(each) or computed_in(each) != dtype):
            return None
    return dtype


def plain_only() -> bool:
    """Whether only PyTorch's operations will do: while the network is exported, and in forward-mode differentiation."""
    compiler = torch.compiler
    return bool(
        getattr(compiler, "is_exporting", compiler.is_compiling)()  # torch 2.6 cannot tell the two apart
        or torch._C._get_tracing_state()  # the older exporter of ONNX
        or forward_ad._current_level >= 0
    )


def call(name: str, dtype: torch.dtype, *arguments: Tensor | int | float | None) -> object:
    """Runs the kernel `name` for activations (or gradients) of `dtype` on as many threads as torch uses."""
    kernels = library()
    assert kernels is not None
    function = getattr(kernels, _full_name(name, dtype))
    plain = [each.data_ptr() if isinstance(each, Tensor) else each for each in arguments]
    assert len(function.argtypes) == len(plain) + 1
    return function(*plain, torch.get_num_threads())


def reuse_memory() -> bool:
    """Keeps freed memory for the next tensor instead of returning it to the system; False where that is impossible.

    The GNU C library maps new pages for every large tensor, and their first use takes longer than ReLU, normalisation
    and pooling: a training step takes a tenth less time with this. Affects the whole process.
    """
    m_trim_threshold, m_mmap_max = -1, -4  # <malloc.h>
    if not hasattr(os, "confstr") or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(m_mmap_max, 0) and mallopt(m_trim_threshold, 2**31 - 1))


@torch.no_grad()
def momentum_update_(
    w: Tensor, v: Tensor, g: Tensor, learning_rate: float, momentum: float, weight_decay: float
) -> None:
    """The paper's update (section 5), in place, in one pass over memory.

    v <- momentum v - weight_decay learning_rate w - learning_rate g; w <- w + v.
    All of one shape; w and v float32, g float32 or bfloat16.
    """
    tensors = [w, v, g]
    assert all(t.shape == w.shape for t in tensors)
    if w.dtype == v.dtype == torch.float32 and all(usable(t) for t in tensors) and _same_dense_layout(tensors):
        decay = weight_decay * learning_rate
        call("momentum_update", g.dtype, w, v, g, w.numel(), learning_rate, momentum, decay)
        torch.autograd.graph.increment_version([w, v])
        return
    v.mul_(momentum).add_(w, alpha=-weight_decay * learning_rate).add_(g, alpha=-learning_rate)
    w.add_(v)


def _same_dense_layout(tensors: list[Tensor]) -> bool:
    dense = tensors[0].is_contiguous() or tensors[0].is_contiguous(memory_format=torch.channels_last)
    return dense and len({t.stride() for t in tensors}) == 1
