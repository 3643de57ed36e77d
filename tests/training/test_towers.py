"""Towers, data parallelism and both: several processes train as one does."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import towers_worker
from processes import torchrun
from safetensors.torch import load_file

from alexnet import AlexNet
from alexnet.model.towers import bytes_exchanged, check_divisible
from alexnet.training.ranks import Ranks, check_count

CASES = {
    ("towers", 2): [
        *("paper/float64", "original/float64", "no-exchange/float64", "sixth-conv/float64"),
        *("paper/float32", "original/float32"),
    ],
    ("data", 2): ["paper/float64", "torchvision/float64", "paper/float32"],
    ("both", 4): ["paper/float64", "original/float32"],
}
RUNS = [(*key, case) for key, cases in CASES.items() for case in cases]
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory):
    """The folder that the ranks wrote, by kind of parallelism; each kind runs once."""

    @functools.cache
    def run(parallel: str, count: int) -> Path:
        folder = tmp_path_factory.mktemp(parallel)
        done = torchrun([("-m", "towers_worker", folder, parallel, *CASES[parallel, count])] * count, folder / "ranks")
        assert done.returncode == 0, done.stderr
        return folder

    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cases in this process."""
    folder = tmp_path_factory.mktemp("alone")
    towers_worker.main(folder, "none", sorted({case for cases in CASES.values() for case in cases}))
    return folder


@pytest.mark.parametrize(("parallel", "count", "case"), RUNS)
def test_losses_weights_and_velocities_are_those_of_one_process(parallel, count, case, results, alone):
    ours, theirs = results(parallel, count) / case, alone / case
    tolerance = TOLERANCE[case.partition("/")[2]]
    losses = [json.loads((folder / "found.json").read_text())["losses"] for folder in (ours, theirs)]
    assert len(set(losses[0])) == 20  # the weights change
    np.testing.assert_allclose(*losses, rtol=tolerance)
    found, expected = (load_file(folder / "weights.safetensors") for folder in (ours, theirs))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = value.abs().max().item()
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize(("parallel", "count", "case"), [run for run in RUNS if run[0] != "data"])
def test_towers_exchange_as_many_bytes_as_the_shapes_say(parallel, count, case, results):
    found = json.loads((results(parallel, count) / case / "found.json").read_text())
    assert found["sent"] == found["expected"] > 0


def test_the_papers_exchange_in_numbers():
    """Half of pool2, pool5, fc6 and fc7, and half of the gradients of the first three; 2 bytes each."""
    half = 128 * 13 * 13, 128 * 6 * 6, 2048, 2048
    with torch.device("meta"):
        paper, apart = AlexNet("paper"), AlexNet("no-exchange")
    assert bytes_exchanged(paper, 128, 2) == 128 * 2 * (2 * sum(half[:3]) + half[3])
    assert bytes_exchanged(apart, 1, 4) == 4 * 4096  # only what fc8 sees


@pytest.mark.parametrize(
    ("name", "sentence"), [("half", "one tower"), ("torchvision", "one tower"), ("caffe", "crosses the towers")]
)
def test_a_network_without_two_towers_is_not_split(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_divisible(AlexNet(name, width=1 / 16))


def test_the_parts_of_a_batch_cover_it_once():
    for count, replicas in ((128, 4), (7, 3), (2, 5)):
        parts = [Ranks(replica=r, replicas=replicas).part(count) for r in range(replicas)]
        assert [i for part in parts for i in range(count)[part]] == list(range(count))


@pytest.mark.parametrize(
    ("parallel", "count", "batch", "sentence"),
    [
        ("none", 2, 8, "say how they share the work"),
        ("towers", 4, 8, "use --parallel both"),
        ("both", 3, 9, "even number of ranks"),
        ("data", 3, 8, "has no 3 equal parts"),
    ],
)
def test_a_number_of_ranks_that_does_not_fit_is_refused(parallel, count, batch, sentence, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=sentence):
        check_count(parallel, count, batch)


def test_without_torchrun_its_command_is_given(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="torchrun --nproc-per-node 2 -m alexnet train"):
        check_count("towers", 1, 8)
