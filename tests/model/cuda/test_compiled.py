"""Kernels as a compiler sees them, for GPUs that need not be there: what an interpreter does not know of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", minversion="3.6", reason="Triton comes with PyTorch on Linux alone")
SOURCE = Path(__file__).parents[3] / "src"
COMPILE = """
import sys
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

class NoGPU:
    get_current_target = staticmethod(lambda: GPUTarget("cuda", int(sys.argv[1]), 32))
    get_current_device = get_current_stream = staticmethod(lambda *_: 0)

def compiled(kernel, grid):
    def launch(*arguments, **options):
        made = kernel.run(*arguments, grid=(1,), warmup=True, **options)
        print(kernel.__name__, made.metadata.shared)
    return launch

driver.set_active(NoGPU())
JITFunction.__getitem__ = compiled
from alexnet.model.cuda import stage

dtype, channels = getattr(torch, sys.argv[2]), int(sys.argv[3])
x, y = torch.zeros(16, 27, 27, channels, dtype=dtype), torch.zeros(16, 13, 13, channels, dtype=dtype)
index = torch.zeros(1, *y.shape, dtype=torch.uint8)
stages = stage.Stages("first", 2, 1e-4, 2.0, 3, 2)
bias = torch.zeros(channels)
stage.forward([x], bias, [y], index, stages)
stage.backward([x], bias, [y], index, [x], stage.bias_parts([x], stages), stages)
"""
SHARED = 99 * 1024
"""Bytes of shared memory that a program may have on an RTX 30."""


@pytest.mark.parametrize(("capability", "dtype"), [(86, "float32"), (90, "bfloat16")])
def test_the_passes_compile_and_use_shared_memory_in_float32_alone(capability: int, dtype: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    path = os.pathsep.join(filter(None, [str(SOURCE), environment.get("PYTHONPATH")]))
    environment |= {"PYTHONPATH": path, "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", COMPILE, str(capability), dtype, "128"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shared = {name: int(size) for name, size in (line.split() for line in done.stdout.splitlines())}
    assert shared.keys() == {"forward", "backward"}
    assert max(shared.values()) <= (SHARED if dtype == "float32" else 0)
