"""A pytest plugin: the kernels run in a program of their own, built for any processor or with sanitizers.

    pytest -p tests.kernel_server --kernel-compiler "aarch64-linux-gnu-g++ -static" --kernel-runner qemu-aarch64 FILES

Tests of the kernels' numbers then test that build: every kernel gets copies of its tensors there, and what it leaves in
them is copied back.
"""

import ctypes
import shlex
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.native import compiler

SERVER = Path(__file__).parent / "native/server"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kernels in a program of their own")
    group.addoption("--kernel-compiler", default="g++", help="the compiler with its options")
    group.addoption("--kernel-runner", default="", help="a command that runs the program, such as an emulator")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Replaces the kernels of this process, before tests ask which there are."""
    command, runner = (shlex.split(config.getoption(f"--kernel-{what}")) for what in ("compiler", "runner"))
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    server = Server([*runner, str(built(command, Path(folder.name) / "server"))])
    config.add_cleanup(server.close)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setattr(kernels, "_loaded", lambda: server)
    patch.setattr(kernels, "call", server.call)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "fresh" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="opens the library in this process"))


def built(command: list[str], program: Path) -> Path:
    flags = [flag for flag in kernels.FLAGS[1] if flag not in ("-shared", "-fPIC")]
    includes = [f"-I{folder}" for folder in (SERVER, compiler.INCLUDE)]
    sources = [str(SERVER / "server.cpp"), str(kernels.SOURCE)]
    subprocess.run([*command, *flags, *includes, *sources, "-o", str(program)], check=True)
    return program


class Server:
    """The running program, in the place of the loaded library."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        lines = iter(lambda: self._out.readline().decode().split(), [])
        self._types = {name: types[1:] for name, types in lines}  # of the arguments
        assert self._types, "the program has not started"
        self._index = {name: index for index, name in enumerate(self._types)}

    def __contains__(self, name: str) -> bool:
        return name in self._types and name != "each"  # that one calls functions of its caller

    def call(self, name: str, dtype: torch.dtype, *arguments: Tensor | float | None) -> None:
        """As `kernels.call`."""
        full_name = f"{name}_{kernels.DTYPES[dtype]}"
        words, contents = [], []
        for kind, value in zip(self._types[full_name], (*arguments, torch.get_num_threads()), strict=True):
            if isinstance(value, Tensor):
                contents.append((value.data_ptr(), span(value)))
                value = span(value)
            words.append(struct.pack("<f4x" if kind == "f" else "<q", -1 if value is None else value))
        sent = [ctypes.string_at(*each) for each in contents]
        self._in.write(b"".join([struct.pack("<q", self._index[full_name]), *words, *sent]))
        self._in.flush()
        for address, size in contents:
            changed = self._out.read(size)
            assert len(changed) == size, f"{full_name}: the program ended with status {self._process.wait()}"
            ctypes.memmove(address, changed, size)

    def close(self) -> None:
        self._in.close()
        self._out.close()
        assert self._process.wait() == 0


def span(tensor: Tensor) -> int:
    """Bytes from the first to the last element."""
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()
