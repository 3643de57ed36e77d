"""A store on a disk that is slow, fails, changes bytes or disappears: a delay or an error, never wrong pixels."""

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from noise import noise_store
from scripts import json_of

from alexnet.data.store.reader import Store
from campaigns.faulty_disk import FaultyDisk, why_unavailable

REASON = why_unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no FUSE: {REASON}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_store(tmp_path_factory.mktemp("noise"))


@pytest.fixture
def disk(store: Path, tmp_path: Path) -> Iterator[FaultyDisk]:
    try:
        mounted = FaultyDisk(store, tmp_path / "mount")
    except RuntimeError:  # root in a container may not
        pytest.skip("no FUSE: mounting is not allowed here")
    with mounted:
        patience = threading.Timer(300, mounted.kill)  # reads then fail, and the test with them, instead of hanging
        patience.start()
        yield mounted
        patience.cancel()


def test_the_disk_shows_what_is_in_the_folder(store: Path, disk: FaultyDisk) -> None:
    assert sorted(os.listdir(disk.mount_point)) == sorted(os.listdir(store))
    for name in os.listdir(store):
        assert (disk.mount_point / name).read_bytes() == (store / name).read_bytes()


@pytest.mark.parametrize(("order", "seconds"), [("slow 0.05", 0.5), ("hang 0.5", 0.4)])
def test_a_slow_disk_is_waited_for(store: Path, disk: FaultyDisk, order: str, seconds: float) -> None:
    slow, fast = (Store(path).split("train") for path in (disk.mount_point, store))
    slow.image(0)
    disk.order(order)
    began = time.monotonic()
    assert all((slow.image(index) == fast.image(index)).all() for index in range(12))
    assert time.monotonic() - began > seconds


FAULTS = {
    f"fail {errno.EIO}": "Input/output error",
    f"fail {errno.ESTALE}": "Stale file handle",
    "empty": "it ends before byte",
    "flip": "does not match its checksum",
    "kill": "",
}


@pytest.mark.parametrize("order", FAULTS)
def test_a_failing_disk_is_one_sentence_and_a_healed_disk_is_read_again(
    store: Path, disk: FaultyDisk, order: str
) -> None:
    split, expected = Store(disk.mount_point).split("train"), Store(store).split("train").image(7)
    split.image(0)
    disk.kill() if order == "kill" else disk.order(order)
    with pytest.raises(ValueError, match=rf"^{disk.mount_point}/train-00000.arrow, row 7, .*{FAULTS[order]}.*again"):
        split.image(7)
    if order != "kill":
        disk.order("heal")
        assert (split.image(7) == expected).all()


OPEN_AND_END = """
import sys
from alexnet.data.store.reader import Store
from campaigns import faulty_disk
split = Store(sys.argv[1]).split("train")
split.image(0)
print("read", flush=True)
input()
"""


def test_a_process_ends_without_an_error_after_its_disk(disk: FaultyDisk) -> None:
    """Even closing an open file fails then."""
    quiet = "ignore::RuntimeWarning"  # that there is no compiler
    command = [sys.executable, "-W", quiet, "-c", OPEN_AND_END, str(disk.mount_point)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == "read\n"
        disk.kill()
        _, errors = reader.communicate("\n", timeout=300)
    assert (reader.returncode, errors) == (0, "")


def test_a_training_resumes_after_its_disk_disappeared() -> None:
    found = json_of("campaigns.slow_disk", "--epochs", 6, "--only", "server killed")
    (fault,) = found["faults"]
    assert found["held"] and fault["exit_code"] == 1
