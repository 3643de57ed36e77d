"""A store on a disk that is slow, fails, lies and disappears: a wait or a sentence, never another image."""

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
from campaigns import faulty_disk

REASON = faulty_disk.why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no FUSE: {REASON}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_store(tmp_path_factory.mktemp("noise"))


@pytest.fixture
def disk(store: Path, tmp_path: Path) -> Iterator:
    try:
        mounted = faulty_disk.Mounted(store, tmp_path / "mount")
    except RuntimeError:  # in a container root may not
        pytest.skip("no FUSE: mounting is not allowed here")
    with mounted:
        patience = threading.Timer(60, mounted.vanish)  # then reads fail, and with them the test, instead of hanging
        patience.start()
        yield mounted
        patience.cancel()


def test_the_disk_shows_what_is_in_the_folder(store: Path, disk) -> None:
    assert sorted(os.listdir(disk.place)) == sorted(os.listdir(store))
    for name in os.listdir(store):
        assert (disk.place / name).read_bytes() == (store / name).read_bytes()


@pytest.mark.parametrize(("order", "seconds"), [("slow 0.05", 0.5), ("hang 0.5", 0.4)])
def test_a_slow_disk_is_waited_for(store: Path, disk, order: str, seconds: float) -> None:
    there, here = (Store(place).split("train") for place in (disk.place, store))
    there.image(0)
    disk.tell(order)
    began = time.monotonic()
    assert all((there.image(index) == here.image(index)).all() for index in range(12))
    assert time.monotonic() - began > seconds


FAULTS = {
    f"fail {errno.EIO}": "Input/output error",
    f"fail {errno.ESTALE}": "Stale file handle",
    "short": "it ends before byte",
    "flip": "does not have its checksum",
    "vanish": "",
}


@pytest.mark.parametrize("order", FAULTS)
def test_a_disk_that_fails_is_a_sentence_and_a_disk_that_is_well_again_goes_on(store: Path, disk, order: str) -> None:
    split, expected = Store(disk.place).split("train"), Store(store).split("train").image(7)
    split.image(0)
    disk.vanish() if order == "vanish" else disk.tell(order)
    with pytest.raises(ValueError, match=rf"^{disk.place}/train-00000.arrow, row 7, .*{FAULTS[order]}.*again"):
        split.image(7)
    if order != "vanish":
        disk.tell("well")
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


def test_a_process_ends_in_peace_after_its_disk(disk) -> None:
    """Also closing what is open is an error of the system then."""
    command = [sys.executable, "-c", OPEN_AND_END, str(disk.place)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == "read\n"
        disk.vanish()
        _, said = reader.communicate("\n", timeout=60)
    assert (reader.returncode, said) == (0, "")


def test_a_training_goes_on_where_its_disk_disappeared() -> None:
    found = json_of("campaigns.slow_disk", "--epochs", 6, "--only", "server gone")
    (fault,) = found["faults"]
    assert found["held"] and fault["exit_code"] == 1 and fault["seconds"] < 60
