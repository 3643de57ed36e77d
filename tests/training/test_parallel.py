"""The commands under torchrun give the same run, numbers and files for any number of ranks."""

import json
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from noise import SETTINGS, noise_store
from processes import Ranks, torchrun
from safetensors.torch import load_file

from alexnet.cli import main
from alexnet.training import checkpoint
from alexnet.training.metrics import read_lines

TRAIN = ("-m", "alexnet", "train")


def by_ranks(count: int, folder: Path, *words: object) -> Ranks:
    """The same command line on every rank; it must succeed."""
    done = torchrun([words] * count, folder)
    assert done.returncode == 0, done.stderr
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


@pytest.mark.parametrize(("parallel", "count"), [("towers", 2)])
def test_a_run_started_by_several_ranks_is_resumed_by_one(parallel, count, store, alone, tmp_path):
    """The first epoch by several ranks, the second by one: the same as both by one."""
    run = tmp_path / "run"
    words = (*TRAIN, store, run, *SETTINGS, "--epochs", 1, "--parallel", parallel, "--json")
    done = by_ranks(count, tmp_path / "ranks", *words)
    result = json.loads(done.stdout)  # one object, from the first rank alone
    assert (result["steps"], result["bytes_exchanged"] > 0) == (4, parallel != "data")
    assert main(["train", str(store), str(run), "--epochs", "2", "--parallel", "none"]) == 0
    assert_alike(run, alone)


def test_a_run_started_by_one_rank_is_resumed_by_two_towers(store, alone, tmp_path):
    run = tmp_path / "run"
    assert main(["train", str(store), str(run), *SETTINGS, "--epochs", "1"]) == 0
    by_ranks(2, tmp_path / "ranks", *TRAIN, store, run, "--epochs", 2, "--parallel", "towers")
    assert_alike(run, alone)


def test_a_run_goes_from_four_ranks_to_one_to_two(store, alone, tmp_path):
    """Of three epochs each does one; the one needs no --parallel none. Together they make the run of one rank."""
    run = tmp_path / "run"
    longer = shutil.copytree(alone, tmp_path / "alone")
    assert main(["train", str(store), str(longer), "--epochs", "3"]) == 0
    by_ranks(4, tmp_path / "four", *TRAIN, store, run, *SETTINGS, "--epochs", 1, "--parallel", "both")
    assert main(["train", str(store), str(run), "--epochs", "2"]) == 0
    by_ranks(2, tmp_path / "two", *TRAIN, store, run, "--epochs", 3, "--parallel", "data")
    assert_alike(run, longer)


IMPATIENT = "import sys; from alexnet import cli; from alexnet.training import run_folder; run_folder.LATEST = 1; "
IMPATIENT += "sys.exit(cli.main(sys.argv[1:]))"


def train_by_two(folder: Path, *words: Sequence[object]) -> Ranks:
    """Two ranks, each with its own words; none waits long for the run folder."""
    return torchrun([["-c", IMPATIENT, "train", *own, "--parallel", "data"] for own in words], folder)


HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("stores", "words", "said"),
    [
        (
            ("store", "store"),
            (("--optim.lr", 0.001), ("--optim.lr", 0.002)),
            f"Rank 1 on {HOST} has optim.lr 0.002, and rank 0 on {HOST} has 0.001: all",
        ),
        (
            ("store", "store"),
            (("--batch-size", 8), ("--batch-size", 0)),
            "batch_size is 0; it must be at least 1",
        ),
        (("store", "missing"), ((), ()), f"Rank 1 on {HOST}: "),
    ],
)
def test_a_rank_that_differs_or_fails_is_named_once_to_all(store, tmp_path, stores, words, said):
    (tmp_path / "store").symlink_to(store)
    run = tmp_path / "run"
    done = train_by_two(
        tmp_path / "ranks", *((tmp_path / name, run, *SETTINGS, *own) for name, own in zip(stores, words, strict=True))
    )
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if line.startswith("alexnet train: ")]
    assert len(ours) == 1 and said in ours[0], done.stderr
    assert not run.exists()


def test_a_run_folder_that_only_one_rank_sees_is_refused(store, alone, tmp_path):
    """At the start by its identity, and when the run resumes by its step."""
    done = train_by_two(tmp_path / "new", *((store, tmp_path / f"new{rank}", *SETTINGS) for rank in range(2)))
    assert done.returncode != 0
    assert f"Rank 1 on {HOST} has run folder none, and rank 0 on {HOST} has" in done.stderr
    shutil.copytree(alone, tmp_path / "old0")
    words = (*SETTINGS, "--epochs", 3)
    done = train_by_two(tmp_path / "old", *((store, tmp_path / f"old{rank}", *words) for rank in range(2)))
    assert done.returncode != 0
    assert done.stderr.count(f"Rank 1 on {HOST} has step 0, and rank 0 on {HOST} has 8: all ranks need") == 1
    assert checkpoint.find(tmp_path / "old0", "last").step == 8 and not (tmp_path / "old1").exists()


def test_survivors_of_a_killed_rank_say_so_once_and_how_to_resume(store, tmp_path):
    run = tmp_path / "run"
    words = (*TRAIN, store, run, *SETTINGS, "--batch-size", 9, "--epochs", 5000, "--evaluate-every", 5000)
    with Ranks([(*words, "--parallel", "data")] * 3, tmp_path / "ranks") as job:
        while not checkpoint.checkpoints(run):
            assert job.running, job.stderr
            time.sleep(0.1)
        job.kill(0)
    assert job.returncode != 0
    text = job.stdout + job.stderr
    lines = [line for line in text.splitlines() if line.startswith("alexnet train: ")]
    assert len(lines) == 1, text
    assert "Another rank of this job has died" in lines[0] and "The same command resumes." in lines[0]
    assert "step-" in lines[0] and "gloo" not in text.lower()


def test_evaluation_and_features_are_shared_and_no_image_counts_twice(store, alone, tmp_path, capsys):
    capsys.readouterr()
    commands = {
        "evaluate": ["evaluate", str(alone), "--data", str(store), "--batch-size", "4", "--json"],
        "features": ["features", str(alone), str(store), "OUT", "--layer", "fc7", "--batch-size", "4", "--json"],
    }
    for name, words in commands.items():
        shared = [str(tmp_path / "shared.npy") if word == "OUT" else word for word in words]
        single = [str(tmp_path / "single.npy") if word == "OUT" else word for word in words]
        ours = json.loads(by_ranks(2, tmp_path / name, "-m", "alexnet", *shared).stdout)
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
