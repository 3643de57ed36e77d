"""The comparisons of the network: all run the same network, and each script runs at its smallest size."""

import json
from pathlib import Path

import pytest
import torch
from scripts import run_script

from alexnet import AlexNet
from benchmarks.network import parts
from benchmarks.network.scaling_model import Cost, Machine, predict, step_milliseconds
from benchmarks.network.torch_nn import copy_parameters, torch_nn_network


@pytest.mark.parametrize("norm_by_convolution", [False, True])
def test_the_network_from_torch_nn_is_the_papers(norm_by_convolution: bool) -> None:
    net = AlexNet("paper", initial_std=(), initial_bias=(), generator=torch.Generator().manual_seed(0)).eval()
    other = copy_parameters(torch_nn_network(norm_by_convolution), net.parameters()).eval()
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 60
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(other(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert other(x).std() > 0


def test_pytorch_is_compared_at_the_smallest_size(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    options = ("--batch-sizes", 1, "--dtypes", "float32", "--rounds", 1, "--frameworks", "PyTorch eager", "--out", out)
    run_script("benchmarks.network.inference", *options)
    (section,) = json.loads(out.read_text()).values()
    (rates,) = section["results"].values()
    assert "PyTorch eager" in rates and section["reference"] in rates
    assert any(name.startswith("alexnet") for name in rates)
    assert all(0 < rate["slowest"] <= rate["median"] <= rate["fastest"] for rate in rates.values())


def test_batch_sizes_at_the_smallest_size() -> None:
    options = ("--batch-sizes", 1, 2, "--dtypes", "float32", "--rounds", 1, "--width", 0.25)
    said = run_script("benchmarks.network.batch_sizes", *options)
    rates = json.loads(said.splitlines()[-1])["results"]["training step, float32"]
    assert rates.keys() == {"batch 1", "batch 2"}


@pytest.mark.parametrize("network", ["paper", "four-layer"])
def test_the_parts_of_a_step_at_the_smallest_size(network: str) -> None:
    size = {"paper": 48, "four-layer": 24}[network]
    options = ("--network", network, "--input-size", size, "--width", 0.125, "--batch-size", 2, "--rounds", 2)
    (found,) = json.loads(run_script("benchmarks.network.parts", *options).splitlines()[-1])["results"].values()
    taken = found["milliseconds"]
    convolutions = {each for each in taken if each.startswith("conv")}
    assert convolutions == ({"conv1", "conv2"} if network == "four-layer" else {f"conv{i}" for i in range(1, 6)})
    assert {parts.CONNECTED, parts.MAPS, parts.PYTHON} < taken.keys()
    assert found["limit"].keys() - {parts.UPDATE} <= taken.keys()  # the smallest layers have no kernel for their update
    assert (parts.LOCAL in taken) == (network == "four-layer")


@pytest.mark.skipif(not Path("/sys/class/net/lo").exists(), reason="Linux counts the bytes")
def test_towers_send_what_the_shapes_say(tmp_path: Path) -> None:
    options = ["--ways", "towers", "--batch-size", 2, "--steps", 2, "--rounds", 1, "--dtype", "float32"]
    options += ["--width", 0.25]
    run_script("benchmarks.network.communication", *options, "--out", tmp_path / "results.json")
    results = json.loads((tmp_path / "results.json").read_text())["communication"]["results"]
    measured = results["measured"]["towers"]
    assert measured["sent_bytes"] > measured["computed_bytes"] > 10_000
    assert len(results["predicted"]) == 10


def test_predictions_follow_from_the_shapes() -> None:
    cost, slow_link = Cost.of_paper(), Machine(gigabytes_per_second_between=0.001)
    assert step_milliseconds(cost, Machine(teraflops=400), 1, 128, 1) < step_milliseconds(cost, Machine(), 1, 128, 1)
    assert step_milliseconds(cost, slow_link, 64, 128, 1) > 10 * step_milliseconds(cost, Machine(), 64, 128, 1)
    assert all(row["step_milliseconds"]["data"] for row in predict(Machine()) if row["batch"] >= row["gpus"])


def test_losses_of_towers_are_drawn_beside_those_of_one_process(tmp_path: Path) -> None:
    for name, factor in (("one", 1.0), ("two", 1.01)):
        (tmp_path / name).mkdir()
        lines = ({"step": step, "loss": factor * 7 / (1 + step), "learning_rate": 0.01} for step in range(60))
        (tmp_path / name / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    figure = tmp_path / "towers.png"
    said = run_script("benchmarks.network.tower_losses", "--out", figure, tmp_path / "one", tmp_path / "two")
    assert "at most 1.0e-02" in said and figure.stat().st_size > 1000
