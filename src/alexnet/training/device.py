"""The device to compute on, and the number format of activations and matrix multiplications."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch

from alexnet.model.cpu import kernels
from alexnet.model.inference import packs_bfloat16
from alexnet.ranges import UsageError


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` is cuda, then mps, then cpu. ValueError for one that this machine lacks.

    Under torchrun each process of a machine gets a GPU of its own. A GPU with a number becomes PyTorch's current one:
    that is where Triton starts kernels, and whose streams a step waits for.
    """
    device = _device_called(name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def _device_called(name: str) -> torch.device:
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return (
            torch.device("cuda", int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else torch.device("cuda")
        )
    if name == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"There is no device '{name}'; use auto, cpu, cuda, cuda:1 or mps.") from None
    gpu = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    there = {"cpu": True, "cuda": gpu, "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise UsageError(f"This machine has no usable device '{name}'; use --device auto.")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format called `name`; `auto` is bfloat16 where the hardware multiplies in it, else float32."""
    if name == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        elif device.type == "cpu":
            fast = cpu_multiplies_in_bfloat16()
        else:
            fast = False
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Instruction sets in which oneDNN computes bfloat16 by way of float32, as the user may limit it to."""


def cpu_multiplies_in_bfloat16() -> bool:
    """Whether oneDNN has instructions for it here: the processor's, unless `ONEDNN_MAX_CPU_ISA` rules them out."""
    abilities = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 has no such function
    there = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", ""))
    return there and limit.upper() not in WITHOUT_BFLOAT16 and kernels.onednn_there() and packs_bfloat16()


@contextlib.contextmanager
def float32_throughout() -> Iterator[None]:
    """Within it, cuDNN's convolutions in float32 are float32. PyTorch's default is TensorFloat-32, of 10 bits."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(cudnn.enabled, cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False):
        yield


def precision(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context with activations and matrix multiplications in `dtype`, by autocast. Weights keep their format.

    In float32 and float64 it changes nothing: activations have the weights' format.
    """
    if torch.finfo(dtype).bits >= 32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)
