"""No exception of C++ leaves a library: Python raises MemoryError or OSError, and the process lives on."""

import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.model.cpu import kernels
from alexnet.native import library

FLAGS = (("-shared", "-fPIC", "-O1", "-std=c++17", "-fopenmp"), ("-shared", "-fPIC", "-O1", "-std=c++17"))
SOURCE = """
#include <system_error>
#include <vector>
#include "exports.h"
#include "local.h"
void no_memory() { throw std::bad_alloc(); }
int64_t too_long(int64_t length) { return int64_t(std::vector<double>(length).size()); }
const char *no_thread() { throw std::system_error(EAGAIN, std::generic_category()); }
bool other() { throw 7; }
int64_t in_threads(int64_t length, int threads) {
    Shortage shortage;
    int64_t sum = 0;
#pragma omp parallel num_threads(threads)
    {
        Local<std::vector<char>> own(shortage, length);
#pragma omp for reduction(+ : sum)
        for (int i = 0; i < 100; i++) {
            if (!own) continue;
            (*own)[i] = 1;
            sum += (*own)[i];
        }
    }
    shortage.check();
    return sum;
}
extern "C" const Export *alexnet_exports() {
    static const Export all[] = {exported<no_memory>("no_memory"), exported<too_long>("too_long"),
                                 exported<no_thread>("no_thread"), exported<other>("other"),
                                 exported<in_threads>("in_threads"), {}};
    return all;
}
"""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_exceptions_become_pythons(fresh: Path) -> None:
    (fresh / "failing.cpp").write_text(SOURCE)
    failing = library.load(fresh / "failing.cpp", FLAGS)
    with pytest.raises(MemoryError, match="There is not enough memory for no_memory"):
        failing.no_memory()
    for length in (1 << 60, -1):  # std::bad_alloc or std::length_error
        with pytest.raises(MemoryError, match="too_long"):
            failing.too_long(length)
    with pytest.raises(OSError, match="The compiled function no_thread failed: Resource temporarily unavailable"):
        failing.no_thread()
    with pytest.raises(OSError, match="The compiled function other failed"):
        failing.other()
    with pytest.raises(MemoryError, match="in_threads"):
        failing.in_threads(1 << 60, 3)
    assert failing.in_threads(100, 3) == 100  # a failure is not told twice
    assert failing.too_long(5) == 5


SHORT_OF_MEMORY = """
import resource, torch
from pathlib import Path
import numpy as np
from alexnet.data.image import pixels
from alexnet.model.cpu import kernels
def limit(more):
    size = int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + more, resource.RLIM_INFINITY))
def attempt(work):
    try:
        work()
        print("done")
    except MemoryError as error:
        print(error)
torch.set_num_threads(2)
width, channels = 1 << 18, 256
x, y = (torch.empty(1, channels, 1, width).contiguous(memory_format=torch.channels_last) for _ in range(2))
sizes = 1, 1, width, channels, 1, width, 1, 1, 1, 2, False, 1e-4, 2.0
small = torch.zeros(1, 8, 3, 3).contiguous(memory_format=torch.channels_last)
image, out = np.zeros((20_000, 30, 3), np.uint8), np.empty((4096, 4096, 3), np.uint8)
kernels.call("stage", torch.float32, small, small.clone(), None, 1, 3, 3, 8, 3, 3, 1, 1, 1, 2, False, 1e-4, 2.0)
pixels.library()
limit(64 << 20)
attempt(lambda: kernels.call("stage", torch.float32, x, y, None, *sizes))
attempt(lambda: pixels.library().resize(
    pixels.address(image), 20_000, 30, 0.0, 0.0, 30.0, 20_000.0, 4096, pixels.address(out)))
attempt(lambda: kernels.call("stage", torch.float32, small, small.clone(), None, 1, 3, 3, 8, 3, 3, 1, 1, 1, 2, False,
                             1e-4, 2.0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by what Linux tells of it")
@pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
def test_kernels_that_are_short_of_memory_say_so_and_work_again() -> None:
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=False)
    said = [f"There is not enough memory for {name}." for name in ("stage_float32", "resize")]
    assert done.stdout.splitlines() == [*said, "done"], done.stderr
