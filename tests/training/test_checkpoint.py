"""Checkpoints: what is written is read, the best and the last two are kept, an incomplete one does not count."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import python
from runs import state_of, write_checksums
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from alexnet.config import CheckpointConfig
from alexnet.files import durable
from alexnet.training import checkpoint, identity


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(4, 2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def save(run, step, best=None, seed=0):
    saved = network(seed)
    velocity = {name: torch.full_like(w, step) for name, w in saved.named_parameters()}
    return checkpoint.save(run, step, saved.state_dict(), velocity, state_of(step, best))


def test_what_is_saved_comes_back(tmp_path):
    written = save(tmp_path, 7, seed=3)
    other = network(4)
    checkpoint.load_weights(other, checkpoint.find(tmp_path, "last"))
    for ours, theirs in zip(other.parameters(), network(3).parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert set(written.velocity()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert all((v == 7).all() for v in written.velocity().values())
    assert written.state() == state_of(7)


def test_the_weights_are_plain_safetensors(tmp_path):
    written = save(tmp_path, 1)
    weights = load_file(written.path / "weights.safetensors")
    assert torch.equal(weights["0.weight"], network().state_dict()["0.weight"])


SHRINK = """
import os, sys
from pathlib import Path
from alexnet.training import checkpoint
last = checkpoint.find(Path(sys.argv[1]), "last")
weights = last.weights()
os.truncate(last.path / "weights.safetensors", 0)
print(sum(float(value.double().sum()) for value in weights.values()))
"""


def test_weights_outlive_their_file(tmp_path):
    """In a process of its own: weights that lie in a mapped file end the process with it."""
    save(tmp_path, 1)
    found = float(python("-c", SHRINK, tmp_path))
    expected = sum(float(value.double().sum()) for value in network().state_dict().values())
    assert found == pytest.approx(expected)


def test_a_network_without_memory_takes_the_weights(tmp_path):
    written = save(tmp_path, 1, seed=3)
    with torch.device("meta"):
        empty = network()
    checkpoint.load_weights(empty, written)
    for ours, theirs in zip(empty.parameters(), network(3).parameters(), strict=True):
        assert torch.equal(ours, theirs) and ours.requires_grad and ours.dtype == torch.float32


def test_the_last_two_and_the_best_are_kept(tmp_path):
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        save(tmp_path, step, best)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [2, 4, 5]
    assert checkpoint.find(tmp_path, "best").step == 2
    assert checkpoint.find(tmp_path, "last").step == 5


def test_the_best_stays_until_two_checkpoints_know_a_better_one(tmp_path):
    """Without step 5 the training resumes from step 4, whose best is step 2."""
    for step, best in ((1, None), (2, 2), (3, 2), (4, 2), (5, 5)):
        save(tmp_path, step, best)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [2, 4, 5]
    save(tmp_path, 6, 5)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [5, 6]


def test_there_are_never_more_than_four(tmp_path):
    for step in range(1, 31):
        save(tmp_path, step, step // 7 * 7 or None)
    assert len(list((tmp_path / "checkpoints").iterdir())) <= 4


def test_without_evaluations_the_best_is_the_last(tmp_path):
    save(tmp_path, 5)
    assert checkpoint.find(tmp_path, "best").step == 5


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path):
    save(tmp_path, 1, 1)
    (tmp_path / "checkpoints" / "step-00000002.partial").mkdir()
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [1]
    save(tmp_path, 2, 1)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [1, 2]


def test_the_checksums_are_those_that_sha256sum_reads(tmp_path):
    written = save(tmp_path, 1)
    if shutil.which("sha256sum") is None:
        pytest.skip("this machine has no sha256sum")
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=written.path, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 3 == len(list(written.path.iterdir())) - 1


def test_a_run_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint"):
        checkpoint.find(tmp_path)


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 4
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped in the weights": lambda folder: flip(folder / "weights.safetensors", 700),
    "flipped in the velocity": lambda folder: flip(folder / "velocity.safetensors", -1),
    "flipped in the state": lambda folder: flip(folder / "state.json", -4),
    "flipped in the checksums": lambda folder: flip(folder / "SHA256SUMS", 5),
    "cut off": lambda folder: os.truncate(folder / "weights.safetensors", 300),
    "empty": lambda folder: os.truncate(folder / "velocity.safetensors", 0),
    "missing": lambda folder: (folder / "velocity.safetensors").unlink(),
    "no state": lambda folder: (folder / "state.json").unlink(),
    "no checksums": lambda folder: (folder / "SHA256SUMS").unlink(),
    "an empty folder": lambda folder: [file.unlink() for file in folder.iterdir()],
}


def change_state(folder: Path, **values: object) -> None:
    """Change values in the state, with checksums that fit."""
    file = folder / "state.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    write_checksums(folder)


def change_tensor(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Change, or remove, the tensor 1.weight in a file, with checksums that fit."""
    tensors = load_file(folder / name)
    changed = change(tensors.pop("1.weight"))
    save_file(tensors if changed is None else tensors | {"1.weight": changed}, folder / name)
    write_checksums(folder)


def remove_key(folder: Path, key: str) -> None:
    file = folder / "state.json"
    file.write_text(json.dumps({k: value for k, value in json.loads(file.read_text()).items() if k != key}))
    write_checksums(folder)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "of another step": (lambda folder: change_state(folder, step=2), "state.json cannot be used (it is of step 2"),
    "a text for a number": (lambda folder: change_state(folder, step="3"), "step is '3', not a number"),
    "a text for the schedule": (lambda folder: change_state(folder, schedule="plateau"), "schedule is not an object"),
    "a text within the schedule": (
        lambda folder: change_state(folder, schedule={"drops": "1", "best": None, "waited": 0, "finished": False}),
        "schedule drops is '1', not a number",
    ),
    "a best step in the future": (lambda folder: change_state(folder, best_step=4), "its best_step is 4"),
    "of another run": (lambda folder: change_state(folder, run="other"), "it is of another run"),
    "a list": (lambda folder: [(folder / "state.json").write_text("[3]"), write_checksums(folder)], "not an object"),
    **{
        f"no {key}": (lambda folder, key=key: remove_key(folder, key), f"{key} is missing")
        for key in ("step", "epoch", "best_step", "schedule", "store", "run", "settings")
    },
    "weights of NaN": (
        lambda folder: change_tensor(folder, "weights.safetensors", lambda w: w * torch.nan),
        "weights.safetensors cannot be used (1.weight is not finite)",
    ),
    "an infinite velocity": (
        lambda folder: change_tensor(folder, "velocity.safetensors", lambda w: w / 0),
        "velocity.safetensors cannot be used (1.weight is not finite)",
    ),
    "bfloat16 weights": (
        lambda folder: change_tensor(folder, "weights.safetensors", lambda w: w.bfloat16()),
        "1.weight is bfloat16 [2, 4], not float32",
    ),
    "float64 velocity": (
        lambda folder: change_tensor(folder, "velocity.safetensors", lambda w: w.double()),
        "1.weight is float64 [2, 4], and in weights.safetensors float32 [2, 4]",
    ),
    "velocity of another shape": (
        lambda folder: change_tensor(folder, "velocity.safetensors", lambda w: w.t().contiguous()),
        "1.weight is float32 [4, 2], and in weights.safetensors float32 [2, 4]",
    ),
    "no velocity of a parameter": (
        lambda folder: change_tensor(folder, "velocity.safetensors", lambda w: None),
        "velocity.safetensors cannot be used (1.weight is missing)",
    ),
    "no parameter of a velocity": (
        lambda folder: change_tensor(folder, "weights.safetensors", lambda w: None),
        "weights.safetensors cannot be used (1.weight is missing)",
    ),
}
"""Changes on purpose: the checksums fit, and what the error says."""


@pytest.mark.parametrize("change", WRONG)
def test_a_checkpoint_that_is_wrong_is_named_and_the_one_before_is_used(tmp_path, change, capsys):
    identity.write(tmp_path, "")
    for step in (1, 2, 3):
        save(tmp_path, step, 2)
    change_it, said = WRONG[change]
    change_it(tmp_path / "checkpoints" / "step-00000003")
    assert checkpoint.find(tmp_path, "last").step == 2
    err = capsys.readouterr().err
    assert said in err and "step-00000003/" in err and err.count("\n") == 1


@pytest.mark.parametrize("content", ["[" * 200_000, "{}", None], ids=["deep", "empty", "pipe"])
def test_a_damaged_identity_is_named_and_no_checkpoint_is_blamed(tmp_path, content, capsys):
    save(tmp_path, 1)
    if content is None:
        os.mkfifo(tmp_path / identity.FILE)
    else:
        (tmp_path / identity.FILE).write_text(content)
    reason = {"{}": "identity is missing", None: "it is a named pipe, not a file"}.get(content, "it is nested")
    for look, which in ((checkpoint.find, "last"), (checkpoint.find_weights, "best")):
        with pytest.raises(ValueError, match=rf"run\.json cannot be used \({reason}.*\); delete it"):
            look(tmp_path, which)
    assert capsys.readouterr().err == ""


def test_folders_that_were_swapped_or_renamed_are_named(tmp_path, capsys):
    for step in (1, 2):
        save(tmp_path, step)
    folder = tmp_path / "checkpoints"
    for old, new in (("step-00000001", "other"), ("step-00000002", "step-00000001"), ("other", "step-00000002")):
        (folder / old).rename(folder / new)
    with pytest.raises(ValueError, match="No checkpoint of"):
        checkpoint.find(tmp_path, "last")
    assert "it is of step 1, its folder has another name" in capsys.readouterr().err


def test_a_damaged_best_checkpoint_is_named_and_the_last_is_used(tmp_path, capsys):
    for step in (1, 2, 3):
        save(tmp_path, step, 1, seed=step)
    change_tensor(tmp_path / "checkpoints" / "step-00000001", "weights.safetensors", lambda w: w * torch.nan)
    found, weights = checkpoint.find_weights(tmp_path)
    assert found.step == 3 and torch.equal(weights["1.bias"], network(3).state_dict()["1.bias"])
    err = capsys.readouterr().err
    assert "1.weight is not finite" in err and "trying step-00000003, the last one" in err and err.count("\n") == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage, capsys):
    for step in (1, 2, 3):
        save(tmp_path, step, 2)
    DAMAGES[damage](tmp_path / "checkpoints" / "step-00000003")
    assert checkpoint.find(tmp_path, "last").step == 2
    err = capsys.readouterr().err
    assert "step-00000003/" in err and "trying the checkpoint before it" in err and err.count("\n") == 1


def test_when_all_are_damaged_none_is_used(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
        flip(tmp_path / f"checkpoints/step-{step:08}/weights.safetensors", 400)
    with pytest.raises(ValueError, match=r"No checkpoint of .* can be used any more; to train from the start, delete"):
        checkpoint.find(tmp_path, "last")


def test_a_damaged_one_does_not_count_as_one_of_the_last_two(tmp_path):
    for step in (1, 2):
        save(tmp_path, step)
    flip(tmp_path / "checkpoints/step-00000002/weights.safetensors", 400)
    save(tmp_path, 3)  # by a training that resumed from step 1
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [1, 3]


def test_checkpoints_after_the_one_resumed_from_are_deleted(tmp_path):
    for step in (4, 8):
        save(tmp_path, step, 4)
    flip(tmp_path / "checkpoints/step-00000008/state.json", 3)
    save(tmp_path, 6, 4)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [4, 6]


class Killed(BaseException):
    """Stands for the end of the process."""


def every_moment(run: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[], object]) -> int:
    """Runs `write` again and again, ended before its first, second, ... change to the folder, on copies of `run`;
    after each, the last whole checkpoint must load. Returns how many moments there were."""
    original = run.with_name("original")
    shutil.copytree(run, original)
    before = {c.step for c in checkpoint.checkpoints(run)}
    for moment in range(1000):
        shutil.rmtree(run)
        shutil.copytree(original, run)
        left = [moment]

        def end_at(name: str, real: Callable, left: list[int] = left) -> Callable:
            def change(*args, **kwargs):
                if left[0] == 0:
                    raise Killed(name)
                left[0] -= 1
                return real(*args, **kwargs)

            return change

        with monkeypatch.context() as patch:
            for owner, names in ((Path, ("rename", "mkdir", "write_text")), (shutil, ("rmtree",))):
                for name in names:
                    patch.setattr(owner, name, end_at(name, getattr(owner, name)))
            patch.setattr(checkpoint, "save_file", end_at("save_file", checkpoint.save_file))
            patch.setattr(durable.os, "fsync", end_at("fsync", os.fsync))
            try:
                write()
            except Killed:
                left[0] = -1
        found = checkpoint.find(run, "last")
        assert found.step >= max(before)
        found.check()
        assert checkpoint.find(run, "best").step == 1
        if left[0] != -1:
            return moment
    raise AssertionError("it never ends")


def test_ended_at_any_moment_of_writing_there_is_a_whole_checkpoint(tmp_path, monkeypatch):
    run = tmp_path / "run"
    for step in (1, 2, 3):
        save(run, step, 1)
    assert every_moment(run, monkeypatch, lambda: save(run, 4, 1)) > 12
    assert [c.step for c in checkpoint.checkpoints(run)] == [1, 3, 4]


def test_ended_at_any_moment_of_replacing_one_of_the_same_step_there_is_one(tmp_path, monkeypatch):
    run = tmp_path / "run"
    save(run, 1, 1)
    assert every_moment(run, monkeypatch, lambda: save(run, 1, 1, seed=5)) > 12
    assert torch.equal(checkpoint.find(run).weights()["1.bias"], network(5).state_dict()["1.bias"])
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000001"]


def test_what_a_killed_process_left_half_done_is_cleared_away(tmp_path):
    save(tmp_path, 1)
    for name in ("step-00000002.partial", "step-00000003.deleted", "step-00000001.replaced"):
        shutil.copytree(tmp_path / "checkpoints" / "step-00000001", tmp_path / "checkpoints" / name)
    (tmp_path / "checkpoints" / "notes.txt").write_text("mine")
    assert [c.path.name for c in checkpoint.checkpoints(tmp_path)] == ["step-00000001"]
    save(tmp_path, 4)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"step-00000001", "step-00000004", "notes.txt"}


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left (os error 28)")],
)
@pytest.mark.parametrize("file", ["weights", "velocity"])
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path, monkeypatch, error, file):
    save(tmp_path, 1)

    def fill(tensors, path):
        if file in path.name:
            path.write_bytes(b"half of")
            raise error
        real(tensors, path)

    real = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", fill)
    with pytest.raises(OSError, match="No space left") as caught:
        save(tmp_path, 2)
    assert durable.is_full(caught.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    checkpoint.find(tmp_path, "last").check()


def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        save(disk, 1)
        (disk / "ballast").write_bytes(bytes(4096 * ((os.statvfs(disk).f_bavail) - 2)))
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                save(disk, 2)
        assert [path.name for path in (disk / "checkpoints").iterdir()] == ["step-00000001"]
        checkpoint.find(disk, "last").check()
        (disk / "ballast").unlink()
        save(disk, 2)
        assert [c.step for c in checkpoint.checkpoints(disk)] == [1, 2]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_checkpoints_inside_an_epoch_come_by_steps_and_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    never, by_steps = checkpoint.Due(CheckpointConfig()), checkpoint.Due(CheckpointConfig(every_steps=3))
    by_minutes = checkpoint.Due(CheckpointConfig(every_minutes=0.5))
    now[0] = 29
    assert [step for step in range(1, 10) if by_steps(step)] == [3, 6, 9]
    assert not by_minutes(1)
    now[0] = 30
    assert by_minutes(2) and not never(2)
    by_minutes.written()
    assert not by_minutes(3)
    with pytest.raises(ValueError, match=r"checkpoint\.every_steps is -1; it must be at least 0"):
        CheckpointConfig(every_steps=-1)


def test_weights_of_another_network_are_refused(tmp_path):
    written = save(tmp_path, 1)
    with pytest.raises(ValueError, match="does not fit"):
        checkpoint.load_weights(nn.Sequential(nn.Conv2d(3, 9, 3), nn.Linear(4, 2)), written)
