"""The measurements on a GPU, as far as Triton's interpreter and small networks come."""

import dataclasses
import json
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import ROOT, run_script

from alexnet.bench import network
from alexnet.networks import NETWORKS
from benchmarks.gpu.all import start, table, together

pytest.importorskip("triton", minversion="3.6", reason="Triton comes with PyTorch on Linux alone")
LIMITS = {"matmul_teraflops": 700.0, "convolution_teraflops": 600.0, "copy_gigabytes_per_second": 3000.0}
pytestmark = pytest.mark.usefixtures("large_tiles")


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> Any:
    """`benchmarks.gpu.ours` on a CPU, with networks that suit it."""
    if device.type != "cpu":
        pytest.skip("this puts the benchmark on a CPU; on a GPU, run the benchmark")
    from benchmarks.gpu import ours

    def small(name: str) -> SimpleNamespace:
        config = NETWORKS[name].config
        return SimpleNamespace(config=dataclasses.replace(config, input_size=43, width=0.1, fc_units=50, classes=7))

    def run(work: Any, *_: object, **__: object) -> float:
        work()
        return 1.0

    monkeypatch.setattr(ours, "DEVICE", device)
    monkeypatch.setattr(ours, "named", small)
    monkeypatch.setattr(ours, "in_graph", run)
    monkeypatch.setattr(ours, "milliseconds", run)
    monkeypatch.setattr(network, "STEPS_AT_ONCE", 1)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    for name in ("empty_cache", "reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda: 0)
    return ours


def test_every_operation_of_a_step_has_a_time_and_a_floor(ours: Any) -> None:
    rows = ours.parts("original", LIMITS, torch.float32, batch=2)
    assert all(row["floor_microseconds"] > 0 for row in rows)
    names = [row["part"] for row in rows]
    for layer in ("conv1", "conv2", "conv5"):
        assert {f"Convolution {layer}, {what}" for what in ("forward", "backward", "update")} <= {*names}
    assert "FullyConnected fc8, update" in names and "SpatialNorm, backward" in names
    assert len(names) == len({*names})


def test_training_and_inference_make_their_rows(ours: Any) -> None:
    row = ours.training("paper", 2, torch.float32)
    assert row["images_per_second"] == 2000 * ours.STEPS_AT_ONCE and row["teraflops"] > 0
    assert ours.inference(2, "paper", torch.float32)["images_per_second"] == 2000


def test_a_folder_of_smaller_images_keeps_names_and_classes(tmp_path: Path) -> None:
    photo = Image.fromarray(np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3))
    for place in ("train/a", "val/b"):
        (tmp_path / "images" / place).mkdir(parents=True)
        photo.save(tmp_path / "images" / place / "1.JPEG")
    said = run_script("benchmarks.gpu.smaller", tmp_path / "images", tmp_path / "smaller")
    assert said.startswith("2 images, ")
    made = sorted((tmp_path / "smaller").glob("*/*/*"))
    assert [str(each.relative_to(tmp_path / "smaller")) for each in made] == ["train/a/1.webp", "val/b/1.webp"]
    with Image.open(made[0]) as image:
        assert image.size == (80, 60)


def test_the_table_shows_what_is_there_and_what_failed() -> None:
    result = json.loads((ROOT / "benchmarks/gpu/results/2026-11-26-h200.json").read_text(encoding="utf-8"))
    result["processes"] = {"tests": {"code": 0, "seconds": 40, "end": "90 passed"}}
    result["pytorch"] = [{"form": "compiled", "batch": 128, "error": "no memory"}]
    lines = table(result).splitlines()
    assert lines[0] == "tests: 90 passed"
    (row,) = (line for line in lines if line.startswith("paper torch.bfloat16") and " 1024 " in line)
    assert "70,374 images/s" in row and "5.3 GiB" in row
    assert any(line.startswith("compiled") and "no memory" in line for line in lines)


def test_what_has_not_ended_in_time_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    wait = "import time; time.sleep(60)"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{wait}']).pid, flush=True); {wait}"
    found = together([start("slow", tmp_path, "-c", code)], 5)
    assert found["slow"]["code"] == -signal.SIGKILL
    child = int(found["slow"]["end"])
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the process that it started goes on")
