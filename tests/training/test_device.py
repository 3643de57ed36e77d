"""Devices by name, the number format that `auto` chooses, and inference where a processor only emulates bfloat16."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alexnet.ranges import UsageError
from alexnet.training.device import WITHOUT_BFLOAT16, choose_device, choose_dtype, float32_throughout
from alexnet.training.step import seed_masks

SOURCE = str(Path(__file__).parents[2] / "src")


@pytest.mark.parametrize("limit", [*WITHOUT_BFLOAT16, "avx2"])
def test_auto_is_float32_where_bfloat16_is_emulated(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": True}, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


INFERENCE = """
import dataclasses
import torch
from alexnet.networks import network
from alexnet.study.trained import TrainedAlexNet
from alexnet.training.device import choose_dtype, precision
cpu = torch.device("cpu")
assert choose_dtype("auto", cpu) == torch.float32
config = dataclasses.replace(network("paper").config, width=0.1, input_size=99)
net = TrainedAlexNet(config).eval()
x = torch.randn(3, *net.layers[0].inputs)
with torch.inference_mode(), precision(cpu, torch.bfloat16):
    assert net(x).dtype == torch.bfloat16
with precision(cpu, torch.bfloat16):
    net.train()(x).float().sum().backward()
"""


def test_a_network_trains_and_answers_in_emulated_bfloat16() -> None:
    limits = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}
    environment = os.environ | limits | {"PYTHONPATH": SOURCE}
    done = subprocess.run([sys.executable, "-c", INFERENCE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_masks_drawn_after_a_seed_are_those_of_torchs_own_seed():
    seed_masks(7, torch.device("cpu"))
    drawn = torch.rand(5)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(5), drawn)


def test_a_gpu_with_a_number_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert choose_device("cuda:1") == torch.device("cuda:1") and chosen == [torch.device("cuda:1")]
    assert choose_device("cuda") == torch.device("cuda") and len(chosen) == 1
    with pytest.raises(UsageError, match="no usable device 'cuda:2'"):
        choose_device("cuda:2")


def test_float32_is_not_tensorfloat32() -> None:
    assert torch.backends.cudnn.allow_tf32
    with float32_throughout():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
