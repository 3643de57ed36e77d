"""Times on a GPU, and the card's own limits."""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

BF16 = torch.bfloat16


def milliseconds(work: Callable[[], object], times: int = 20, rounds: int = 5) -> float:
    """The median time of one call over `rounds`, each of `times` calls between two events of the device."""
    work()
    taken = []
    for _ in range(rounds):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        for _ in range(times):
            work()
        ended.record()
        ended.synchronize()
        taken.append(began.elapsed_time(ended) / times)
    return statistics.median(taken)


def in_graph(work: Callable[[], object], times: int = 20) -> float:
    """`milliseconds` of `work` in a CUDA graph of `times` calls, without the time to launch its kernels."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            work()
    return milliseconds(graph.replay, times=1) / times


def limits() -> dict[str, float]:
    """What the card reaches: a large matrix multiplication and a convolution in bfloat16, and a copy."""
    a, b = (torch.randn(8192, 8192, dtype=BF16, device="cuda") for _ in range(2))
    matmul = 2 * 8192**3 / in_graph(lambda: a @ b, 5) / 1e9
    x = torch.randn(256, 512, 28, 28, dtype=BF16, device="cuda").contiguous(memory_format=torch.channels_last)
    w = torch.randn(512, 512, 3, 3, dtype=BF16, device="cuda").contiguous(memory_format=torch.channels_last)
    convolution = 2 * 256 * 28**2 * 512**2 * 9 / in_graph(lambda: F.conv2d(x, w, padding=1), 5) / 1e9
    c, d = (torch.empty(2**29, dtype=torch.uint8, device="cuda") for _ in range(2))
    copy = 2 * 2**29 / in_graph(lambda: c.copy_(d), 5) / 1e6
    return {"matmul_teraflops": matmul, "convolution_teraflops": convolution, "copy_gigabytes_per_second": copy}


def card() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "card": properties.name,
        "memory_gib": properties.total_memory / 2**30,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def kernel_times(work: Callable[[], object], most: int = 30) -> list[dict[str, Any]]:
    """The kernels that `work` runs, the longest first: name, microseconds of one call, and how many there are."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(3):
            work()
        torch.cuda.synchronize()
    events = sorted(profiled.key_averages(), key=lambda event: -event.device_time_total)[:most]
    return [{"kernel": e.key[:100], "microseconds": e.device_time_total / 3, "count": e.count / 3} for e in events]
