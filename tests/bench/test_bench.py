"""`alexnet bench` at the smallest size: what it measures, returns and shows. No time is asserted."""

import dataclasses
import json
import math
import time
from pathlib import Path

import pytest
import torch
from processes import python
from rich.console import Console

from alexnet.bench import feeding, files, limits, measure, network
from alexnet.bench.bench import bench, render
from alexnet.bench.synthetic_photos import draw_photos
from alexnet.cli import main
from alexnet.data.prepare.prepare import prepare
from alexnet.demo.synthetic import CLASSES
from alexnet.model.cpu import kernels
from alexnet.model.layers import layers_of
from alexnet.model.unshared import GroupedLinear, Local2d
from alexnet.networks import NETWORKS
from alexnet.ranges import UsageError

KEYS = {
    "images_per_second",
    "limit_images_per_second",
    "fraction_of_limit",
    "peak_memory_bytes",
    "dtype",
    "batch",
}  # what scripts rely on
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONVOLUTION", (1, 16, 4))
    monkeypatch.setattr(limits, "COPIED", 1000)
    monkeypatch.setattr(measure, "SECONDS", 0)
    monkeypatch.setattr(files, "DRAWN", 24)
    monkeypatch.setattr(files, "PREPARED", 30)
    monkeypatch.setattr(kernels, "reuse_memory", lambda: None)  # holds for the process
    config = dataclasses.replace(NETWORKS["paper"].config, width=0.05, input_size=64, classes=7)
    monkeypatch.setitem(NETWORKS, "paper", dataclasses.replace(NETWORKS["paper"], config=config))


def shown(result: dict) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(render(result))
    return capture.get()


@pytest.mark.parametrize("what", ["train", "infer"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_network(what: str, dtype: str) -> None:
    result = bench(what, batch_size=3, dtype=dtype, rounds=2)  # type: ignore[arg-type]
    assert result.keys() >= KEYS
    assert (result["what"], result["batch"], result["dtype"], result["network"]) == (what, 3, dtype, "paper")
    ratio = result["images_per_second"] / result["limit_images_per_second"]
    assert result["fraction_of_limit"] == pytest.approx(ratio)
    assert result["slowest"] <= result["images_per_second"] <= result["fastest"]
    assert result["peak_memory_bytes"] > 10_000_000
    json.dumps(result)
    assert "fraction of the limit" in shown(result)
    assert result["gemm_images_per_second"] > 0


@pytest.mark.parametrize("what", ["train", "infer"])
def test_another_input_size_and_width_are_measured_beside_their_own_limit(what: str) -> None:
    small, large = (bench(what, batch_size=2, rounds=1, input_size=size, width=0.1) for size in (63, 95))  # type: ignore[arg-type]
    assert (large["input_size"], large["width"]) == (95, 0.1)
    config = dataclasses.replace(NETWORKS["paper"].config, input_size=95, width=0.1)
    operations = limits.operations(config, what == "train")
    assert f"{operations / 1e9:.3g} GFLOP" in large["limit"] != small["limit"]
    assert large["limit_images_per_second"] == pytest.approx(1e9 * large["gigaflops_per_second"] / operations)
    assert "(paper, 95 pixels, width 0.1)" in shown(large)
    assert "days_for_90_epochs_of_imagenet" not in large


@pytest.mark.parametrize(("what", "option"), [("load", "width"), ("kernels", "input_size"), ("prepare", "width")])
def test_an_option_without_effect_is_refused(what: str, option: str) -> None:
    with pytest.raises(UsageError, match=f"^--{option.replace('_', '-')} is for alexnet bench train, infer"):
        bench(what, **{option: 3})  # type: ignore[arg-type]


def test_instruction_sets_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = bench("infer", batch_size=1, rounds=1)
    used = result["machine"]["instruction_sets"]
    known = {"AVX-512", "AVX-512, bf16 dot products", "AVX2", "SSE2", "NEON", "vectors of 16 bytes", "plain PyTorch"}
    assert used["kernels"] in known
    assert used["pytorch"] == torch.backends.cpu.get_cpu_capability()
    assert f"Kernels: {used['kernels']}." in shown(result)
    monkeypatch.setenv("ALEXNET_KERNELS", "off")
    without = measure.machine(CPU)["instruction_sets"]
    assert (without["kernels"], without["images"]) == ("plain PyTorch", "Pillow and libjpeg-turbo")


def test_days_for_imagenet_follow_from_the_rate() -> None:
    result = bench("train", batch_size=2, rounds=1)
    seconds = 90 * 1_281_167 / result["images_per_second"]
    assert result["days_for_90_epochs_of_imagenet"] == pytest.approx(seconds / 86_400)
    assert "5 to 6 days" in shown(result)


def test_the_step_that_is_measured_trains() -> None:
    config = NETWORKS["paper"].config
    state = network.new_state(config, CPU, lr=0.01)
    before = [p.detach().clone() for p in state.network.parameters()]
    network.repeated(network.step_of(state, torch.float32), config, 4, torch.float32, CPU)()
    assert state.network.training
    assert all(not torch.equal(old, new) for old, new in zip(before, state.network.parameters(), strict=True))


def test_training_is_also_measured_with_the_loader_that_feeds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_photos(tmp_path / "images", 24)
    prepare(tmp_path / "images", tmp_path / "store", workers=1, val_fraction=0)
    config = dataclasses.replace(NETWORKS["paper"].config, classes=len(CLASSES))
    monkeypatch.setitem(NETWORKS, "paper", dataclasses.replace(NETWORKS["paper"], config=config))
    result = bench("train", batch_size=8, dtype="float32", rounds=1, store=tmp_path / "store")
    ratio = result["fed_images_per_second"] / result["repeated_images_per_second"]
    assert result["fed_fraction"] == pytest.approx(ratio)
    assert "fed from the store" in shown(result)
    with pytest.raises(ValueError, match="cannot feed"):
        bench("train", batch_size=25, dtype="float32", rounds=1, store=tmp_path / "store")


def test_the_loader_feeds_every_step_with_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_photos(tmp_path / "images", 24)
    prepare(tmp_path / "images", tmp_path / "store", workers=1, val_fraction=0)
    monkeypatch.setattr(feeding, "STEPS", 2)
    monkeypatch.setattr(feeding, "SECONDS", 0)
    seen: list[torch.Tensor] = []
    config = dataclasses.replace(NETWORKS["paper"].config, classes=len(CLASSES))
    feeding.feeding(
        lambda x, labels: seen.append(x.clone()), tmp_path / "store", config, 8, torch.float32, CPU, rounds=1
    )
    assert [x.shape for x in seen] == [(8, 3, 64, 64)] * 9  # one timed, two of each form, twice
    fed, repeated = seen[5:7], seen[7:]
    assert not torch.equal(*fed)
    assert torch.equal(*repeated)
    assert torch.equal(fed[1], repeated[0])


def test_small_images_are_loaded_beside_a_copy(tmp_path: Path) -> None:
    draw_photos(tmp_path / "images", 12)
    prepare(tmp_path / "images", tmp_path / "store", size=32, workers=1, val_fraction=0)
    for input_size, expected in ((None, 28), (24, 24)):
        result = bench("load", store=tmp_path / "store", batch_size=5, rounds=1, input_size=input_size)
        assert result.keys() >= KEYS
        assert (result["input_size"], result["bytes_per_image"]) == (expected, 54 + 3 * 32**2)
        assert "a copy of as many crops" in result["limit"]
        assert f"{expected} pixels" in " ".join(shown(result).split())
    with pytest.raises(ValueError, match="no crops of 33 pixels, only of up to 32; use a smaller --input-size"):
        bench("load", store=tmp_path / "store", batch_size=5, rounds=1, input_size=33)


@pytest.mark.parametrize("what", ["load", "prepare"])
def test_files(what: str) -> None:
    result = bench(what, batch_size=8, rounds=1)  # type: ignore[arg-type]
    assert result.keys() >= KEYS
    assert result["batch"] == {"load": 8, "prepare": 30}[what]
    assert result["bytes_per_image"] > 10_000  # as photographs have, not flat drawings
    assert "synthetic" in shown(result)


def test_given_images_and_stores_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "images", 12)
    prepare(tmp_path / "images", tmp_path / "store", workers=1, val_fraction=0)
    loaded = bench("load", store=tmp_path / "store", batch_size=5, rounds=1)
    assert loaded["source"] == str(tmp_path / "store")
    assert bench("prepare", source=tmp_path / "images", rounds=1)["source"] == str(tmp_path / "images")
    assert not capsys.readouterr().err.count("left out")
    damaged = tmp_path / "images" / "damaged.jpg"
    damaged.write_bytes(next((tmp_path / "images").rglob("*.jpg")).read_bytes()[:3000])
    assert "median of 1 round\n" in shown(bench("prepare", source=tmp_path / "images", rounds=1))
    assert capsys.readouterr().err.count(f"warning: left out: {damaged} cannot be decoded: ") == 1
    with pytest.raises(ValueError, match="smaller --batch-size"):
        bench("load", store=tmp_path / "store", batch_size=13, rounds=1)


@pytest.mark.parametrize("size", [128, 32])
def test_a_store_of_any_size_is_measured(size: int, tmp_path: Path) -> None:
    draw_photos(tmp_path / "images", 6)
    prepare(tmp_path / "images", tmp_path / "store", size=size, workers=1, val_fraction=0)
    loaded = bench("load", store=tmp_path / "store", rounds=1)
    assert (loaded["size"], loaded["crop"], loaded["batch"]) == (size, size * 7 // 8, 6)
    assert ("libjpeg-turbo" in loaded["limit"]) == (size == 128) and loaded["limit_images_per_second"] > 0


@pytest.mark.skipif(not kernels.available(), reason="no compiled kernels here")
def test_kernels() -> None:
    from alexnet.bench.kernels import kernels_alone

    result = kernels_alone(2, "float32", 1, side=9, channels=8)
    assert result.keys() >= KEYS
    assert {line["name"] for line in result["kernels"]} >= {"norm", "pool with gradient", "spatial norm", "update"}
    assert "PyTorch, ms" in shown(result)


def test_rounds_must_be_positive() -> None:
    with pytest.raises(ValueError, match="--rounds is 0"):
        bench("train", batch_size=1, rounds=0)


def test_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "infer", "--batch-size", "2", "--rounds", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() >= KEYS


def test_operations_are_the_papers() -> None:
    config = dataclasses.replace(NETWORKS["original"].config)
    assert limits.operations(config, training=False) == pytest.approx(1.45e9, rel=0.01)
    assert limits.operations(config, training=True) == pytest.approx(4.13e9, rel=0.01)


@pytest.mark.parametrize("network", ["paper", "original", "no-exchange", "four-layer"])
def test_multiplications_alone_are_pytorchs_own_layers(network: str) -> None:
    """Of the same weights as the network's; no layer that has kernels of ours."""
    layers = [layer for layer in layers_of(NETWORKS[network].config) if layer.weight_shape]
    for layer in layers:
        alone = limits.torch_layer(layer)
        plain = {
            "conv": torch.nn.Conv2d,
            "local": Local2d,
            "fc": torch.nn.Linear if layer.groups == 1 else GroupedLinear,
        }
        assert type(alone) is plain[layer.kind]
        assert tuple(alone.get_parameter("weight").shape) == layer.weight_shape
        outputs = alone(torch.zeros(1, *((math.prod(layer.inputs),) if layer.kind == "fc" else layer.inputs)))
        assert tuple(outputs.shape[1:]) == layer.outputs


def test_forms_are_measured_in_turn_and_the_first_round_is_not_counted() -> None:
    calls: list[str] = []
    rates = measure.alternate({"a": (lambda: calls.append("a"), 2), "b": (lambda: calls.append("b"), 1)}, 3)
    assert calls == ["a", "b"] * 4
    assert rates["a"].slowest <= rates["a"].median <= rates["a"].fastest
    assert rates["a"].times(2).median == 2 * rates["a"].median


def test_short_work_is_repeated_in_a_round() -> None:
    calls: list[str] = []
    forms = {"short": (lambda: calls.append("short"), 1), "long": (lambda: (calls.append("long"), time.sleep(0.02)), 1)}
    rates = measure.alternate(forms, 2, seconds=0.01)
    assert calls.count("long") == 3
    assert calls.count("short") > 20
    assert rates["long"].fastest <= 50  # its 20 milliseconds
    assert rates["short"].median > 50


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_peak_memory_counts_what_was_held_in_between() -> None:
    code = """
import torch
from alexnet.bench.measure import forget_peak, peak_memory
cpu = torch.device("cpu")
forget_peak(cpu)
before = peak_memory(cpu)
held = torch.ones(16 << 20)
del held
print(peak_memory(cpu) - before > 60 << 20)
forget_peak(cpu)
print(peak_memory(cpu) - before < 30 << 20)
"""
    assert python("-c", code).split() == ["True", "True"]
