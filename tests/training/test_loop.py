"""Training: it learns, it continues exactly, it keeps its folder in order, it says what is wrong."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from noise import CROP, SIZE, noise_store
from PIL import Image
from safetensors.torch import load_file

from alexnet import load
from alexnet.config import CheckpointConfig, NetworkConfig, OptimConfig, ScheduleConfig, TrainConfig
from alexnet.data.prepare.prepare import prepare
from alexnet.files import durable, lock
from alexnet.model.cpu import kernels
from alexnet.recipes import recipe
from alexnet.training import checkpoint, loop, stop
from alexnet.training.metrics import read_lines

CONFIG = TrainConfig(
    epochs=3,
    batch_size=8,
    dtype="float32",
    device="cpu",
    workers=2,
    network=NetworkConfig(input_size=CROP, width=1 / 12, initial_std=(0.02, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)),
    optim=OptimConfig(lr=0.001),
    schedule=ScheduleConfig(kind="epochs", drop_epochs=(2,), warmup_steps=3),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 training and 12 validation images of three classes."""
    return noise_store(tmp_path_factory.mktemp("loop"), train=12, val=4)


def weights(run: Path) -> dict[str, torch.Tensor]:
    last = checkpoint.find(run, "last")
    velocity = load_file(last.path / "velocity.safetensors")
    return load_file(last.path / "weights.safetensors") | {f"velocity of {k}": v for k, v in velocity.items()}


def assert_same_run(ours: Path, theirs: Path) -> None:
    a, b = weights(ours), weights(theirs)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert read_lines(ours / "metrics.jsonl") == read_lines(theirs / "metrics.jsonl")
    assert checkpoint.find(ours, "last").state() == checkpoint.find(theirs, "last").state()


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of three epochs."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    loop.train(store, run, CONFIG)
    return run


def test_a_run_folder_holds_what_was_promised(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"config.json", "classes.json", "mean.npy", "metrics.jsonl", "tensorboard", "checkpoints"}
    lines = read_lines(finished / "metrics.jsonl")
    steps = [line for line in lines if "evaluation" not in line]
    evaluations = [line for line in lines if "evaluation" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert all({"step", "epoch", "loss", "learning_rate"} <= line.keys() for line in steps)
    rates = [line["learning_rate"] for line in steps]
    assert rates == pytest.approx([0.001 / 3, 0.002 / 3, 0.001, *[0.001] * 5, *[0.0001] * 4])
    assert [line["epoch"] for line in evaluations] == [1, 2, 3]
    assert all({"top1_error", "top5_error", "loss"} <= line.keys() for line in evaluations)


def test_it_learns(store, tmp_path):
    config = dataclasses.replace(CONFIG, epochs=15, evaluate_every=15)
    summary = loop.train(store, tmp_path / "run", config)
    assert summary["top1_error"] < 0.2  # guessing: 0.67
    assert summary["steps"] == 60 and summary["warnings"] == []
    assert f"top-1 error {summary['top1_error']:.2%}" in loop.render(summary)


def test_the_trained_network_loads_and_knows_its_classes(finished, store):
    network = load(finished, device="cpu")
    assert [c.name for c in network.classes] == ["blue", "green", "red"]
    assert not network.training
    image = np.full((80, 60, 3), 128, np.uint8)
    x = network.preprocess(image)
    assert x.shape == (3, CROP, CROP) and network(x[None]).shape == (1, 3)
    views = network.preprocess.ten_views(image)
    assert views.shape == (10, 3, CROP, CROP)
    from alexnet.data.store.reader import Store

    mean = torch.from_numpy(Store(store).mean)
    whole = (128 - mean).permute(2, 0, 1)
    edge = (SIZE - CROP) // 2
    torch.testing.assert_close(x, whole[:, edge : edge + CROP, edge : edge + CROP])


@pytest.mark.parametrize(("stop_after", "asked"), [(1, signal.SIGINT), (6, signal.SIGTERM), (8, signal.SIGINT)])
def test_a_stopped_run_continues_bit_for_bit(finished, store, tmp_path, monkeypatch, stop_after, asked):
    """Stopped inside an epoch and at its end: weights, velocities and metrics are the same in the end."""
    run = tmp_path / "run"
    observe, seen = loop.health.LossWatch.observe, []
    before = signal.getsignal(signal.SIGINT)

    def press_ctrl_c(self, loss):
        seen.append(loss)
        if len(seen) == stop_after:
            os.kill(os.getpid(), asked)
        return observe(self, loss)

    monkeypatch.setattr(loop.health.LossWatch, "observe", press_ctrl_c)
    with pytest.raises(stop.Stopped, match=f"after step {stop_after}, .*the same command continues") as caught:
        loop.train(store, run, CONFIG)
    assert caught.value.signal == asked
    assert checkpoint.find(run, "last").step == stop_after
    loop.train(store, run, dataclasses.replace(CONFIG, workers=1))
    assert_same_run(run, finished)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("evaluation", [1, 2])
def test_a_run_that_died_continues_from_its_last_checkpoint(finished, store, tmp_path, monkeypatch, evaluation):
    run, observed, observe = tmp_path / "run", [], loop.Schedule.observe

    def die(self, config, error):
        observed.append(error)
        if len(observed) == evaluation:
            raise MemoryError
        return observe(self, config, error)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Schedule, "observe", die)
        with pytest.raises(MemoryError):
            loop.train(store, run, CONFIG)
    assert len(checkpoint.checkpoints(run)) == evaluation - 1
    loop.train(store, run, CONFIG)
    assert_same_run(run, finished)


def test_a_finished_run_has_nothing_left_to_do(finished, store, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    summary = loop.train(store, run, CONFIG)
    assert summary["steps"] == 12
    assert_same_run(run, finished)


def test_more_epochs_go_on_where_it_ended(finished, store, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert loop.train(store, run, dataclasses.replace(CONFIG, epochs=4))["steps"] == 16


def test_the_seed_decides(finished, store, tmp_path):
    loop.train(store, tmp_path / "again", CONFIG)
    assert_same_run(tmp_path / "again", finished)
    loop.train(store, tmp_path / "other", dataclasses.replace(CONFIG, seed=1))
    assert not torch.equal(weights(tmp_path / "other")["conv1.weight"], weights(finished)["conv1.weight"])


def test_the_best_checkpoint_is_that_of_the_lowest_validation_error(store, tmp_path, monkeypatch):
    errors = iter([0.5, 0.2, 0.4])
    monkeypatch.setattr(loop, "validate", lambda *a: ({"top1_error": next(errors), "top5_error": 0.0, "loss": 1.0}, {}))
    summary = loop.train(store, tmp_path / "run", CONFIG)
    assert (summary["best_step"], summary["top1_error"]) == (8, 0.2)
    assert [c.step for c in checkpoint.checkpoints(tmp_path / "run")] == [8, 12]


def test_checkpoints_inside_an_epoch_change_nothing_and_are_gone_on_from(finished, store, tmp_path, monkeypatch):
    """Every third step; the process dies after the seventh, before the checkpoint of the second epoch."""
    run, observe, seen = tmp_path / "run", loop.health.LossWatch.observe, []

    def die(self, loss):
        seen.append(loss)
        if len(seen) == 7:
            raise MemoryError
        return observe(self, loss)

    config = dataclasses.replace(CONFIG, checkpoint=CheckpointConfig(every_steps=3))
    with monkeypatch.context() as patch:
        patch.setattr(loop.health.LossWatch, "observe", die)
        with pytest.raises(MemoryError):
            loop.train(store, run, config)
    assert [c.step for c in checkpoint.checkpoints(run)] == [4, 6]
    loop.train(store, run, config)
    assert len(seen) == 7 and checkpoint.find(run, "last").step == 12
    assert_same_run(run, finished)


def test_a_damaged_last_checkpoint_costs_only_the_steps_since_the_one_before(finished, store, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    file = run / "checkpoints" / "step-00000012" / "velocity.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert loop.train(store, run, CONFIG)["steps"] == 12
    assert f"{file} cannot be read" in capsys.readouterr().err
    assert_same_run(run, finished)


def test_by_minutes_too(store, tmp_path, monkeypatch):
    saved, save = [], checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda run, step, *a: (saved.append(step), save(run, step, *a))[1])
    loop.train(store, tmp_path / "run", dataclasses.replace(CONFIG, checkpoint=CheckpointConfig(every_minutes=1e-9)))
    assert saved == list(range(1, 13))


@pytest.mark.parametrize("place", ["weights", "log"])
def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(finished, store, tmp_path, monkeypatch, place):
    run = tmp_path / "run"
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(*args):
        raise full

    real, calls = checkpoint.save_file, []

    def fail_later(tensors, path):
        calls.append(path)
        if len(calls) > 2:
            raise full
        real(tensors, path)

    with monkeypatch.context() as patch:
        if place == "weights":
            patch.setattr(checkpoint, "save_file", fail_later)
        else:
            patch.setattr(loop.MetricsLog, "write", fail)
        with pytest.raises(ValueError, match=r"No space is left for .*run: free some, then the same command continues"):
            loop.train(store, run, CONFIG)
    assert [c.step for c in checkpoint.checkpoints(run)] == ([4] if place == "weights" else [])
    loop.train(store, run, CONFIG)
    assert_same_run(run, finished)


@pytest.mark.parametrize("killed_in", ["config.json", "mean.npy", "classes.json"])
def test_killed_while_the_run_folder_is_made_the_same_command_goes_on(store, tmp_path, monkeypatch, killed_in):
    run, whole = tmp_path / "run", durable.whole

    class Killed(BaseException):
        pass

    def die(path):
        if path.name == killed_in:
            path.with_name(durable.NEW + path.name).write_bytes(b"half")
            raise Killed
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "whole", die)
        with pytest.raises(Killed):
            loop.train(store, run, CONFIG)
    assert loop.train(store, run, dataclasses.replace(CONFIG, epochs=1))["steps"] == 4
    assert not list(run.glob(f"{durable.NEW}*"))


def test_a_second_training_of_the_same_run_is_refused(store, tmp_path):
    run = tmp_path / "run"
    with lock.hold(run, "alexnet train"), pytest.raises(ValueError, match=r"Another alexnet train is writing .*run"):
        loop.train(store, run, CONFIG)
    assert not run.exists()


def test_the_plateau_ends_the_training(store, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "validate", lambda *a: ({"top1_error": 0.5, "top5_error": 0.0, "loss": 1.0}, {}))
    schedule = ScheduleConfig(patience=1, max_drops=1)
    summary = loop.train(store, tmp_path / "run", dataclasses.replace(CONFIG, epochs=50, schedule=schedule))
    assert summary["epochs"] == 3  # best, drop, end
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    rates = [line["learning_rate"] for line in lines if "evaluation" not in line]
    assert rates == pytest.approx([0.001] * 8 + [0.0001] * 4)
    assert checkpoint.find(tmp_path / "run", "last").step == 12


def test_a_loss_that_is_not_a_number_stops_with_the_layer_and_the_way_back(store, tmp_path):
    config = dataclasses.replace(
        CONFIG, optim=OptimConfig(lr=1e12), schedule=ScheduleConfig(kind="epochs"), checkpoint=CheckpointConfig(1)
    )
    with pytest.raises(FloatingPointError, match=r"not a number at step \d+; .* is not finite.*--optim.lr 5e\+11"):
        loop.train(store, tmp_path / "run", config)


def test_weights_that_are_not_numbers_are_never_saved(store, tmp_path, monkeypatch):
    """The loss of a step is finite, the update after it is not: the checkpoint before is the one to go back to."""
    run, step, steps = tmp_path / "run", loop.MomentumSGD.step, []

    def explode(self, closure=None):
        step(self)
        steps.append(1)
        if len(steps) == 7:
            with torch.no_grad():
                self.param_groups[0]["params"][0][0] = float("inf")

    monkeypatch.setattr(loop.MomentumSGD, "step", explode)
    config = dataclasses.replace(CONFIG, checkpoint=CheckpointConfig(every_steps=1))
    with pytest.raises(FloatingPointError, match=r"at step 7; the weights conv1.weight is not finite.*step-00000006"):
        loop.train(store, run, config)
    checkpoint.find(run, "last").check()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_in_factors_make_the_same_run_as_whole_ones(dtype, store, tmp_path, monkeypatch):
    if not (kernels.has_pairs() if dtype == "bfloat16" else kernels.has_vectors()):
        pytest.skip("a processor whose kernels keep no factors")
    config, call, called = dataclasses.replace(CONFIG, batch_size=18, dtype=dtype), kernels.call, []

    def counting(name, *arguments):
        called.append(name)
        return call(name, *arguments)

    monkeypatch.setattr(kernels, "call", counting)
    loop.train(store, tmp_path / "factors", config)
    assert called.count("full_update") == 3 * 6  # fc6, fc7 and fc8 in each step
    called.clear()
    monkeypatch.setattr(loop, "keep_factors", lambda network: None)
    loop.train(store, tmp_path / "whole", config)
    assert "full_update" not in called and called.count("full_gradient_of_weight") == 3 * 6
    assert_same_run(tmp_path / "factors", tmp_path / "whole")


def test_without_a_validation_split_it_trains_by_epochs(store, tmp_path):
    source = tmp_path / "source"
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (source / "train" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(
                source / "train" / name / f"{i}.png"
            )
    prepare(source, tmp_path / "store", size=SIZE, workers=1, val_fraction=0)
    with pytest.raises(ValueError, match=r"no validation split, which --schedule\.kind plateau needs"):
        loop.train(tmp_path / "store", tmp_path / "run", dataclasses.replace(CONFIG, schedule=ScheduleConfig()))
    summary = loop.train(tmp_path / "store", tmp_path / "run", dataclasses.replace(CONFIG, epochs=1))
    assert summary["top1_error"] is None and checkpoint.find(tmp_path / "run").step == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": dataclasses.replace(CONFIG.network, input_size=64)}, "takes images of 64 pixels"),
        ({"batch_size": 64}, "fewer than one batch"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_settings_that_do_not_fit_are_said_before_anything_is_written(store, tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        loop.train(store, tmp_path / "run", dataclasses.replace(CONFIG, **change))
    assert not (tmp_path / "run").exists()


def test_another_network_or_folder_is_refused(finished, store, tmp_path):
    with pytest.raises(ValueError, match="another setting of batch_size"):
        loop.train(store, finished, dataclasses.replace(CONFIG, batch_size=4))
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        loop.train(store, tmp_path / "letters", CONFIG)


def test_bfloat16_and_float32_learn_alike(store, tmp_path):
    losses = {}
    for dtype in ("float32", "bfloat16"):
        loop.train(store, tmp_path / dtype, dataclasses.replace(CONFIG, dtype=dtype, epochs=1))
        losses[dtype] = [
            line["loss"] for line in read_lines(tmp_path / dtype / "metrics.jsonl") if "evaluation" not in line
        ]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.05)


def test_training_outside_the_main_thread_works(store, tmp_path):
    done = []
    thread = threading.Thread(
        target=lambda: done.append(loop.train(store, tmp_path / "run", dataclasses.replace(CONFIG, epochs=1)))
    )
    thread.start()
    thread.join()
    assert done and json.dumps(done[0])


def test_tuning_starts_from_every_layer_but_the_last(finished, store, tmp_path):
    """`--from`: with the rates at 0 nothing moves, so that the copied weights can be seen; fc8 is new."""
    frozen = dataclasses.replace(CONFIG, epochs=1, optim=OptimConfig(lr=0), start_from=str(finished), seed=5)
    loop.train(store, tmp_path / "tuned", frozen)
    tuned, origin = (
        load_file(checkpoint.find(run).path / "weights.safetensors") for run in (tmp_path / "tuned", finished)
    )
    for name, value in origin.items():
        assert torch.equal(tuned[name], value) == (not name.startswith("fc8.")), name
    loop.train(store, tmp_path / "tuned", dataclasses.replace(frozen, epochs=2))  # continued, not begun again


def test_tuning_gives_layers_their_own_rates(finished, store, tmp_path):
    schedule = ScheduleConfig(kind="epochs", changes=("0 conv1 0", "0 fc8 0.01", "0.5 fc8 common"))
    config = dataclasses.replace(CONFIG, epochs=1, schedule=schedule, start_from=str(finished))
    loop.train(store, tmp_path / "tuned", config)
    tuned, origin = (
        load_file(checkpoint.find(run).path / "weights.safetensors") for run in (tmp_path / "tuned", finished)
    )
    assert torch.equal(tuned["conv1.weight"], origin["conv1.weight"])
    assert not torch.equal(tuned["conv2.weight"], origin["conv2.weight"])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"network": dataclasses.replace(CONFIG.network, width=0.1)},
            "cannot be the start, its network is another: see",
        ),
        ({"schedule": ScheduleConfig(kind="epochs", changes=("0 conv9 0",))}, "names 'conv9', which is no layer"),
        ({"schedule": ScheduleConfig(kind="epochs", changes=("0 relu3 0",))}, "names 'relu3', which is no layer"),
    ],
)
def test_a_start_or_a_change_that_does_not_fit_is_said(finished, store, tmp_path, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        loop.train(store, tmp_path / "run", dataclasses.replace(CONFIG, start_from=str(finished), **change))


@pytest.mark.parametrize("name", ["original", "caffe", "cifar", "finetune"])
def test_every_recipe_trains_at_small_size(store, tmp_path, name):
    made = recipe(name)
    size = 48 if name == "cifar" else CROP
    config = dataclasses.replace(
        made,
        epochs=1,
        batch_size=12,
        dtype="float32",
        network=dataclasses.replace(made.network, input_size=size, width=1 / 12),
        optim=dataclasses.replace(made.optim, lr=1e-5),
    )
    summary = loop.train(store, tmp_path / "run", config)
    assert summary["steps"] == 3 and 0 <= summary["top1_error"] <= 1
    assert load(tmp_path / "run", device="cpu").config.recipe == name
