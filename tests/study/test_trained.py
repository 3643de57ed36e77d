"""`load`: a network whose fast path, without gradients and hooks, gives the same outputs as the plain one."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alexnet.model.cpu import kernels
from alexnet.model.cpu.kernels import onednn_there
from alexnet.model.inference import packs_bfloat16
from alexnet.study.trained import load


@pytest.mark.skipif(not (kernels.available() and onednn_there()), reason="no kernels or no oneDNN here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answers_without_gradients_are_those_with_them(run: Path, dtype: torch.dtype) -> None:
    net = load(run, "cpu")
    x = torch.randn(4, *net.layers[0].inputs, generator=torch.Generator().manual_seed(0)) * 60
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        plain = net(x)
        with torch.inference_mode():
            packed = net(x)
    assert plain.requires_grad
    assert (net._packed is not None) == (dtype == torch.float32 or packs_bfloat16())
    assert packed.dtype == plain.dtype == dtype
    tolerance = 1e-4 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(packed, plain, rtol=tolerance, atol=tolerance * float(packed.abs().max()))


def test_changed_weights_and_hooks_are_respected(run: Path) -> None:
    net = load(run, "cpu")
    x = torch.randn(2, *net.layers[0].inputs)
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        before = net(x)
        net.get_parameter("fc8.bias").add_(1)
        torch.testing.assert_close(net(x), before + 1)
        handle = net.get_submodule("conv3").register_forward_hook(lambda module, given, output: seen.append(output))  # type: ignore[arg-type]
        torch.testing.assert_close(net(x), before + 1)
        assert len(seen) == 1
        handle.remove()
        net(x)
        assert len(seen) == 1


def test_copies_and_pickles_answer_alike(run: Path, tmp_path: Path) -> None:
    net = load(run, "cpu")
    x = torch.randn(2, *net.layers[0].inputs)
    with torch.inference_mode():
        expected = net(x)
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert other._packed is None
            assert torch.equal(other(x), expected)


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="this torch imports both to fill a network")
def test_loading_needs_no_compiler_and_no_algebra(run: Path) -> None:
    """To fill or copy a network without memory, torch imports both, which takes a second."""
    code = f"import sys, alexnet; alexnet.load({str(run)!r}); print({{'torch._dynamo', 'sympy'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_initial_values_can_be_drawn_again(run: Path) -> None:
    net = load(run, "cpu")
    before = net.get_parameter("conv1.weight").clone()
    net.reset_parameters(torch.Generator().manual_seed(0))
    after = net.get_parameter("conv1.weight")
    assert not torch.equal(before, after) and after.isfinite().all()


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no run at .*nowhere: make one with `alexnet train`"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.json"):
        load(tmp_path)
