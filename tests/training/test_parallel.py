"""The commands under torchrun give the same run, numbers and files for any number of ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from noise import SETTINGS, noise_store
from safetensors.torch import load_file

from alexnet.cli import main
from alexnet.training import checkpoint
from alexnet.training.metrics import read_lines


def torchrun(count: int, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    done = subprocess.run(
        [*command, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_store(tmp_path_factory.mktemp("noise"))


@pytest.fixture(scope="module")
def alone(store: Path) -> Path:
    """Two epochs by one rank."""
    assert main(["train", str(store), str(store.parent / "alone"), *SETTINGS, "--epochs", "2"]) == 0
    return store.parent / "alone"


def assert_alike(ours: Path, theirs: Path) -> None:
    a, b = (checkpoint.find(run, "last") for run in (ours, theirs))
    assert a.step == b.step
    for file in ("weights.safetensors", "velocity.safetensors"):
        found, expected = load_file(a.path / file), load_file(b.path / file)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            difference = (found[name] - value).abs().max() / value.abs().max()
            assert difference < 1e-4, f"{file}: {name}"
    lines = [read_lines(run / "metrics.jsonl") for run in (ours, theirs)]
    for found, expected in zip(*lines, strict=True):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-4)), key


@pytest.mark.parametrize(("parallel", "count"), [("towers", 2), ("data", 2), ("both", 4)])
def test_a_run_started_by_several_ranks_is_resumed_by_one(parallel, count, store, alone, tmp_path):
    """The first epoch by several ranks, the second by one: the same as both by one."""
    run = tmp_path / "run"
    done = torchrun(
        count, "-m", "alexnet", "train", store, run, *SETTINGS, "--epochs", 1, "--parallel", parallel, "--json"
    )
    result = json.loads(done.stdout)  # one object, from the first rank alone
    assert (result["steps"], result["bytes_exchanged"] > 0) == (4, parallel != "data")
    assert main(["train", str(store), str(run), "--epochs", "2", "--parallel", "none"]) == 0
    assert_alike(run, alone)


def test_a_run_started_by_one_rank_is_resumed_by_two_towers(store, alone, tmp_path):
    run = tmp_path / "run"
    assert main(["train", str(store), str(run), *SETTINGS, "--epochs", "1"]) == 0
    torchrun(2, "-m", "alexnet", "train", store, run, "--epochs", 2, "--parallel", "towers")
    assert_alike(run, alone)


def test_ranks_that_disagree_say_so(store, tmp_path):
    words = f"exec {sys.executable} -m alexnet train {store} {tmp_path / 'run'} {' '.join(SETTINGS)} --parallel data"
    done = torchrun(2, "--no-python", "bash", "-c", f"{words} --seed $RANK", check=False)
    assert done.returncode != 0
    assert "Rank 1 has another setting than rank 0" in done.stderr
    assert not (tmp_path / "run" / "config.json").exists()


def test_evaluation_and_features_are_shared_and_no_image_counts_twice(store, alone, tmp_path, capsys):
    capsys.readouterr()
    commands = {
        "evaluate": ["evaluate", str(alone), "--data", str(store), "--batch-size", "4", "--json"],
        "features": ["features", str(alone), str(store), "OUT", "--layer", "fc7", "--batch-size", "4", "--json"],
    }
    for name, words in commands.items():
        shared = [str(tmp_path / "shared.npy") if word == "OUT" else word for word in words]
        single = [str(tmp_path / "single.npy") if word == "OUT" else word for word in words]
        ours = json.loads(torchrun(2, "-m", "alexnet", *shared).stdout)
        assert main(single) == 0
        theirs = json.loads(capsys.readouterr().out)
        if name == "evaluate":
            del ours["seconds"], theirs["seconds"]
            assert ours == theirs
        else:
            assert ours["images"] == theirs["images"] == 51
            rows = [np.load(tmp_path / f"{which}.npy") for which in ("shared", "single")]
            np.testing.assert_allclose(*rows, rtol=1e-4, atol=1e-5)
            keys = [(tmp_path / f"{which}.keys.txt").read_text() for which in ("shared", "single")]
            assert keys[0] == keys[1] and len(keys[0].splitlines()) == 51
