"""Calling the compiled kernels, with a compiler and without, and the update that they hold."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from compiling import check_source, open_again
from processes import python
from torch import Tensor

from alexnet.model.cpu import kernels
from alexnet.model.lrn import LocalResponseNorm
from alexnet.model.pooling import MaxPool2d
from alexnet.model.stage import relu_norm_pool
from alexnet.native import compiler

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
needs_posix = pytest.mark.skipif(os.name != "posix", reason="kernels are built on Linux and macOS only")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a process that has not loaded the kernels yet."""
    monkeypatch.delenv("ALEXNET_KERNELS", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    open_again(kernels, "_loaded", monkeypatch)
    return tmp_path


# ---- The update ----


def update_in_float64(w: Tensor, v: Tensor, g: Tensor, rate: float, momentum: float, decay: float):
    v = momentum * v.double() - decay * rate * w.double() - rate * g.double()
    return w.double() + v, v


@pytest.mark.parametrize("on", [pytest.param("", marks=needs_kernels), "off"])
@pytest.mark.parametrize("shape", [(1,), (4099,), (7, 5), (6, 4, 3, 3), (0,)])
def test_update_is_the_papers_rule(on: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    for dtype in (torch.float32, torch.bfloat16):
        w, v, g = torch.randn(shape), torch.randn(shape), torch.randn(shape).to(dtype)
        if len(shape) == 4:
            w, v, g = (t.contiguous(memory_format=torch.channels_last) for t in (w, v, g))
        wanted_w, wanted_v = update_in_float64(w, v, g, 0.01, 0.9, 0.0005)
        before = w._version, v._version
        kernels.momentum_update_(w, v, g, 0.01, 0.9, 0.0005)
        torch.testing.assert_close(w.double(), wanted_w, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(v.double(), wanted_v, rtol=1e-6, atol=1e-6)
        assert w._version > before[0]  # autograd knows that they have changed
        assert v._version > before[1]


@pytest.mark.parametrize("on", ["", "off"])
def test_update_of_other_layouts_and_types(on: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", on)
    w, v, g = torch.randn(8, 6), torch.zeros(8, 6), torch.randn(8, 6)
    wanted, _ = update_in_float64(w, v, g, 0.01, 0.9, 0.0005)
    for change in (
        lambda t: t.T.contiguous().T,
        lambda t: t.double(),
        lambda t: torch.stack([t, t], 2)[..., 0],
    ):
        copy = change(w).clone(memory_format=torch.preserve_format)
        kernels.momentum_update_(copy, v.clone(), change(g), 0.01, 0.9, 0.0005)
        torch.testing.assert_close(copy.double(), wanted, rtol=1e-6, atol=1e-6)


def test_update_of_a_parameter_needs_no_gradient_of_its_own():
    w = torch.nn.Parameter(torch.ones(3))
    kernels.momentum_update_(w, torch.zeros(3), torch.ones(3), 0.5, 0.9, 0.0)
    assert w.tolist() == [0.5, 0.5, 0.5]
    assert w.requires_grad
    assert w.grad_fn is None


def test_freed_memory_is_kept_where_the_c_library_is_gnus():
    if sys.platform != "linux":
        assert kernels.reuse_memory() in (True, False)
        return
    code = "from alexnet.model.cpu.kernels import reuse_memory; print(reuse_memory())"
    said = python("-c", code)
    gnu = "CS_GNU_LIBC_VERSION" in os.confstr_names and os.confstr("CS_GNU_LIBC_VERSION")
    sanitized = "libasan" in os.environ.get("LD_PRELOAD", "")  # it has an allocator of its own
    assert said.strip() == str(bool(gnu) and not sanitized)


# ---- With a compiler and without ----


@needs_posix
@pytest.mark.parametrize("how", ["missing", "fails", "makes nothing that loads"])
def test_without_a_working_compiler_everything_runs_and_says_so_once(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    script = fresh / "compiler"
    script.write_text("#!/bin/sh\n" + ("echo 'error: no' >&2; exit 1\n" if how == "fails" else ""))
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(fresh / "nowhere") if how == "missing" else str(script))
    x = torch.randn(2, 20, 9, 9).requires_grad_()
    with pytest.warns(RuntimeWarning, match="plain PyTorch") as said:
        y = MaxPool2d()(LocalResponseNorm()(x))
    assert {"missing": "no C++ compiler", "fails": "error: no"}.get(how, "") in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(MaxPool2d()(LocalResponseNorm()(x)), y)
        y.sum().backward()
    assert not kernels.available()


@needs_kernels
def test_the_source_takes_the_best_flags_that_the_compiler_takes(fresh: Path):
    command = compiler.command()
    assert command is not None
    (fresh / "nothing.cpp").write_text("int nothing;")
    for flags in kernels.FLAGS:
        made = ["-o", str(fresh / "made.so")]
        if subprocess.run([*command, *flags, str(fresh / "nothing.cpp"), *made], capture_output=True).returncode == 0:
            source = [*command, *flags, f"-I{compiler.INCLUDE}", "-fsyntax-only", str(kernels.SOURCE)]
            done = subprocess.run(source, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return


@needs_kernels
@pytest.mark.parametrize("processor", ["x86-64-v3", "skylake-avx512", "cooperlake", "sapphirerapids", "armv8-a"])
def test_the_source_is_for_every_processor(fresh: Path, processor: str):
    check_source(kernels.SOURCE, fresh, f"-march={processor}")


def test_turned_off_means_not_even_looked_for(fresh: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    monkeypatch.setattr(kernels, "load", lambda: pytest.fail("looked for"))
    assert kernels.library() is None


@needs_kernels
@pytest.mark.parametrize("flags", [kernels.FLAGS[-1], (*kernels.FLAGS[1], "-DNDEBUG")], ids=["bare", "openmp"])
def test_kernels_for_any_processor_give_the_same(fresh: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]):
    x = (torch.randn(2, 70, 9, 10) * 40).contiguous(memory_format=torch.channels_last)

    def everything() -> list[Tensor]:
        norm, pool = LocalResponseNorm(), MaxPool2d()
        results = []
        for dtype in (torch.float32, torch.bfloat16):
            for function in (norm, pool, lambda x: relu_norm_pool(x, torch.nn.ReLU(), norm, pool)):
                leaf = x.to(dtype).requires_grad_()
                y = function(leaf)
                results += [y.detach().float(), torch.autograd.grad(y.square().sum(), leaf)[0].float()]
        return results

    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.delenv("XDG_CACHE_HOME")
        expected = everything()
    kernels._loaded.cache_clear()
    monkeypatch.setattr(kernels, "FLAGS", (flags,))
    found = everything()
    assert len(list((fresh / "cache" / "alexnet").iterdir())) == 1
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        tolerance = 2e-5 if i < len(found) // 2 else 2**-5  # a bfloat16 rounded the other way changes what follows
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
        assert (ours - theirs).abs().mean() <= 1e-4 * theirs.abs().mean()
