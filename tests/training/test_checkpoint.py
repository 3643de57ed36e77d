"""Checkpoints: what is written comes back, the best and the last stay, half of one is none."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from alexnet.training import checkpoint


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(4, 2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def save(run, step, best=None, seed=0):
    saved = network(seed)
    velocity = {name: torch.full_like(w, step) for name, w in saved.named_parameters()}
    return checkpoint.save(run, step, saved.state_dict(), velocity, {"best_step": best, "step": step})


def test_what_is_saved_comes_back(tmp_path):
    written = save(tmp_path, 7, seed=3)
    other = network(4)
    checkpoint.load_weights(other, checkpoint.find(tmp_path, "last"))
    for ours, theirs in zip(other.parameters(), network(3).parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert set(written.velocity()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert all((v == 7).all() for v in written.velocity().values())
    assert written.state() == {"best_step": None, "step": 7}


def test_the_weights_are_plain_safetensors(tmp_path):
    written = save(tmp_path, 1)
    weights = load_file(written.path / "weights.safetensors")
    assert torch.equal(weights["0.weight"], network().state_dict()["0.weight"])


def test_the_best_and_the_last_are_kept(tmp_path):
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        save(tmp_path, step, best)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [2, 4]
    assert checkpoint.find(tmp_path, "best").step == 2
    assert checkpoint.find(tmp_path, "last").step == 4


def test_without_evaluations_the_best_is_the_last(tmp_path):
    save(tmp_path, 5)
    assert checkpoint.find(tmp_path, "best").step == 5


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path):
    save(tmp_path, 1, 1)
    (tmp_path / "checkpoints" / "step-00000002.partial").mkdir()
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [1]
    save(tmp_path, 2, 1)
    assert [c.step for c in checkpoint.checkpoints(tmp_path)] == [1, 2]


def test_an_empty_run_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint"):
        checkpoint.find(tmp_path)
    written = save(tmp_path, 1)
    (written.path / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"step-00000001/weights\.safetensors cannot be read"):
        written.weights()


def test_weights_of_another_network_are_refused(tmp_path):
    written = save(tmp_path, 1)
    with pytest.raises(ValueError, match="does not fit"):
        checkpoint.load_weights(nn.Sequential(nn.Conv2d(3, 9, 3), nn.Linear(4, 2)), written)
