"""A run that stops, for whatever reason, resumes to the same weights, velocity and metrics, bit for bit."""

import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from runs import assert_same_run, step_then, weights

from alexnet.config import CheckpointConfig, OptimConfig, ScheduleConfig
from alexnet.files import durable
from alexnet.training import checkpoint, loop, stop
from alexnet.training.metrics import MetricsLog
from alexnet.training.validation import Validation, validate


def at_step(number: int, do):
    """The training step; `do` is done after step `number`."""
    return step_then(lambda state: do() if state.step == number else None)


def die() -> None:
    raise MemoryError


@pytest.mark.parametrize(("stop_after", "asked"), [(1, signal.SIGINT), (6, signal.SIGTERM), (8, signal.SIGINT)])
def test_a_stopped_run_resumes_bit_for_bit(finished, noise, tmp_path, config, stop_after, asked, capsys):
    """Stopped within an epoch and at its end."""
    run = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(stop.Stopped, match=f"after step {stop_after}, .*the same command resumes") as caught:
        loop.train(noise, run, config, step=at_step(stop_after, lambda: os.kill(os.getpid(), asked)))
    assert caught.value.signal == asked
    assert checkpoint.find(run, "last").step == stop_after
    assert "resuming" not in capsys.readouterr().err
    loop.train(noise, run, dataclasses.replace(config, workers=1))
    assert f"resuming after step {stop_after} of 12\n" in capsys.readouterr().err
    assert_same_run(run, finished)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("evaluation", [1, 2])
def test_a_run_that_died_resumes_from_its_last_checkpoint(finished, noise, tmp_path, config, evaluation):
    run, evaluations = tmp_path / "run", []

    def validate_or_die(*arguments) -> Validation:
        evaluations.append(validate(*arguments))
        if len(evaluations) == evaluation:
            die()
        return evaluations[-1]

    with pytest.raises(MemoryError):
        loop.train(noise, run, config, validate=validate_or_die)
    assert len(checkpoint.checkpoints(run)) == evaluation - 1
    loop.train(noise, run, config)
    assert_same_run(run, finished)


def test_a_finished_run_has_nothing_left_to_do(finished, noise, tmp_path, config, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    summary = loop.train(noise, run, config, step=step_then(lambda state: die()))
    assert summary["steps"] == 12 and "3 epochs, 12 steps; ended because" in loop.render(summary)
    assert "nothing is left to train: epoch 3 of 3 is done; larger --epochs trains on\n" in capsys.readouterr().err
    assert_same_run(run, finished)


def test_with_more_epochs_a_finished_run_resumes(finished, noise, tmp_path, config):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert loop.train(noise, run, dataclasses.replace(config, epochs=4))["steps"] == 16


def test_checkpoints_within_an_epoch_change_nothing_and_are_resumed_from(finished, noise, tmp_path, config):
    """A checkpoint every third step; the process dies in the seventh, before that of the second epoch."""
    run = tmp_path / "run"
    config = dataclasses.replace(config, checkpoint=CheckpointConfig(every_steps=3))
    with pytest.raises(MemoryError):
        loop.train(noise, run, config, step=at_step(7, die))
    assert [c.step for c in checkpoint.checkpoints(run)] == [4, 6]
    loop.train(noise, run, config)
    assert checkpoint.find(run, "last").step == 12
    assert_same_run(run, finished)


def test_checkpoints_by_minutes(noise, tmp_path, config):
    run, found = tmp_path / "run", []

    def look(state) -> None:
        if state.step:
            found.append(checkpoint.find(run, "last").step)

    config = dataclasses.replace(config, checkpoint=CheckpointConfig(every_minutes=1e-9))
    loop.train(noise, run, config, step=step_then(lambda state: None, before=look))
    assert found == list(range(1, 12))


def test_a_damaged_last_checkpoint_costs_only_the_steps_since_the_one_before(finished, noise, tmp_path, config, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    file = run / "checkpoints" / "step-00000012" / "velocity.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert loop.train(noise, run, config)["steps"] == 12
    assert f"{file} cannot be used" in capsys.readouterr().err
    assert_same_run(run, finished)


@pytest.mark.parametrize("writing", ["weights", "log"])
def test_a_full_disk_is_one_sentence_and_the_same_command_resumes(
    finished, noise, tmp_path, config, monkeypatch, writing
):
    run = tmp_path / "run"
    full = OSError(errno.ENOSPC, "No space left on device")
    save_file, written = checkpoint.save_file, []

    def fail(*_: object) -> None:
        raise full

    def fail_later(tensors, path) -> None:
        written.append(path)
        fail() if len(written) > 2 else save_file(tensors, path)

    with monkeypatch.context() as patch:
        if writing == "weights":
            patch.setattr(checkpoint, "save_file", fail_later)
        else:
            patch.setattr(MetricsLog, "write", fail)
        with pytest.raises(ValueError, match=r"No space is left for .*run: free some, then the same command resumes"):
            loop.train(noise, run, config)
    assert [c.step for c in checkpoint.checkpoints(run)] == ([4] if writing == "weights" else [])
    loop.train(noise, run, config)
    assert_same_run(run, finished)


@pytest.mark.parametrize("killed_in", ["config.json", "mean.npy", "classes.json"])
def test_killed_while_the_run_folder_is_made_the_same_command_starts_it(
    noise, tmp_path, config, monkeypatch, killed_in
):
    run, whole = tmp_path / "run", durable.whole

    class Killed(BaseException):
        pass

    def die_writing(path):
        if path.name == killed_in:
            dead = subprocess.run(
                [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
            )
            mark = durable.mark().replace(str(os.getpid()), dead.stdout.strip())
            durable.new_name(path, mark).write_bytes(b"half")
            raise Killed
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "whole", die_writing)
        with pytest.raises(Killed):
            loop.train(noise, run, config)
    assert loop.train(noise, run, dataclasses.replace(config, epochs=1))["steps"] == 4
    assert not list(run.glob(f"{durable.NEW}*"))


def test_another_store_is_refused(finished, noise, tmp_path, config):
    shutil.copytree(finished, tmp_path / "run")
    state = tmp_path / "run" / "checkpoints" / "step-00000012"
    contents = checkpoint.Checkpoint(state).state() | {"store": "another"}
    last = checkpoint.Checkpoint(state)
    checkpoint.save(tmp_path / "run", 12, last.weights(), last.velocity(), contents)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="was trained on another store; resume it with its own store"):
        loop.train(noise, tmp_path / "run", config)


def test_finetuning_starts_from_every_layer_but_the_last(finished, noise, tmp_path, config):
    """`--from` copies the best checkpoint. With learning rates of 0 the copied weights stay as they are; fc8 is new."""
    frozen = dataclasses.replace(config, epochs=1, optim=OptimConfig(lr=0), start_from=str(finished), seed=5)
    loop.train(noise, tmp_path / "finetuned", frozen)
    origin = weights(finished, "best")
    for name, value in weights(tmp_path / "finetuned").items():
        assert torch.equal(value, origin[name]) == (not name.startswith("fc8.")), name
    loop.train(noise, tmp_path / "finetuned", dataclasses.replace(frozen, epochs=2))  # resumes, does not start again


def test_finetuning_gives_layers_their_own_learning_rates(finished, noise, tmp_path, config):
    schedule = ScheduleConfig(kind="epochs", changes=("0 conv1 0", "0 fc8 0.01", "0.5 fc8 common"))
    config = dataclasses.replace(config, epochs=1, schedule=schedule, start_from=str(finished))
    loop.train(noise, tmp_path / "finetuned", config)
    finetuned, origin = weights(tmp_path / "finetuned"), weights(finished, "best")
    assert torch.equal(finetuned["conv1.weight"], origin["conv1.weight"])
    assert not torch.equal(finetuned["conv2.weight"], origin["conv2.weight"])


def test_a_start_that_does_not_fit_is_refused(finished, noise, tmp_path, config):
    network = dataclasses.replace(config.network, width=0.1)
    with pytest.raises(ValueError, match="cannot be fine-tuned here, its network is another: see"):
        loop.train(noise, tmp_path / "run", dataclasses.replace(config, start_from=str(finished), network=network))
