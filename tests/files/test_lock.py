"""A folder has one writer at a time."""

import multiprocessing
import threading
import time

import pytest

from alexnet.files import lock


def keep(run) -> None:
    with lock.hold(run, "alexnet train"):
        (run / "held").write_text("")
        time.sleep(60)


def test_a_folder_held_by_another_process_is_refused_until_that_ends(tmp_path):
    run = tmp_path / "deep" / "run"
    other = multiprocessing.get_context("spawn").Process(target=keep, args=(run,))
    other.start()
    try:
        while not (run / "held").exists():
            time.sleep(0.01)
        for _ in range(2):
            with (
                pytest.raises(ValueError, match=f"Another alexnet train is writing {run}: wait"),
                lock.hold(run, "alexnet train"),
            ):
                raise AssertionError
        assert (run / "held").exists() and lock.is_held(run)
    finally:
        other.kill()
        other.join()
    assert not lock.is_held(run)
    with lock.hold(run, "alexnet train"):
        assert (run / "held").exists()


def test_a_folder_in_which_nothing_was_written_is_deleted(tmp_path):
    with lock.hold(tmp_path / "run", "alexnet train"):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


def test_without_locks_in_the_file_system_every_process_is_admitted(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    with lock.hold(tmp_path / "run", "alexnet train"), lock.hold(tmp_path / "run", "alexnet train"):
        assert not lock.is_held(tmp_path / "run")


def test_who_waits_gets_the_lock_when_the_other_process_ends(tmp_path):
    run = tmp_path / "run"
    other = multiprocessing.get_context("spawn").Process(target=keep, args=(run,))
    other.start()
    while not (run / "held").exists():
        time.sleep(0.01)
    threading.Timer(0.2, other.kill).start()
    with lock.wait(run):
        assert not other.is_alive() or other.join(1) is None
        assert lock.is_held(run)
    assert not lock.is_held(run)
