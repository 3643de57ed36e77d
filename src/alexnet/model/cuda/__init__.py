"""The network on a GPU: Triton kernels for what memory bandwidth limits, and plans for training and inference.

Nothing here is imported before a tensor on a GPU asks for it: Triton comes with PyTorch on Linux alone.
"""

import functools
import importlib.util
import os
import shutil

import torch

CAPABILITY = 8, 0
"""The oldest GPUs whose tensor cores multiply bfloat16: A100, RTX 30."""

POOL = 4
"""Largest pooling window and stride of the kernels, which are written out for each pixel of a window."""

NORM_SIZES = 3, 5, 7, 9
"""Channels that normalisation adds up in the kernels."""


@functools.cache
def why_unusable(device: torch.device) -> str | None:
    """What stands in the way of the kernels on `device`, in words; None where they run."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"there are none for {'ROCm' if device.type == 'cuda' else device.type}"
    if importlib.util.find_spec("triton") is None:
        return "they need Triton, which is not installed"
    if not any(map(shutil.which, (os.environ.get("CC", "clang"), "gcc"))):
        return "Triton needs a C compiler such as gcc, and there is none"
    if torch.cuda.get_device_capability(device) < CAPABILITY:
        name = torch.cuda.get_device_name(device)
        return f"they need compute capability {CAPABILITY[0]}.{CAPABILITY[1]}, and {name} has less"
    return None


def takes(x: object) -> bool:
    """Whether the kernels take x: float32, bfloat16 or float16 on a GPU where they run, below 2^31 elements; never
    while torch.compile, which fuses operations itself, or an exporter looks on."""
    return (
        isinstance(x, torch.Tensor)
        and x.is_cuda
        and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and 0 < x.numel() < 2**31
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and why_unusable(x.device) is None
    )
