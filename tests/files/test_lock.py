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


def test_who_is_refused_leaves_the_empty_folder_to_its_holder(tmp_path):
    run = tmp_path / "run"
    with lock.hold(run, "alexnet train"):
        with pytest.raises(ValueError, match="Another alexnet train"), lock.hold(run, "alexnet train"):
            raise AssertionError
        assert run.is_dir()
        (run / "file").touch()
    assert run.is_dir()


def test_who_has_renamed_the_folder_does_not_delete_the_next_one(tmp_path):
    run = tmp_path / "run"
    with lock.hold(run, "alexnet train"):
        run.rename(tmp_path / "done")
        with lock.hold(run, "alexnet train"):
            pass
        run.mkdir()
    assert run.is_dir()


@pytest.mark.parametrize("lock_it", [lambda run: lock.hold(run, "alexnet train"), lock.wait])
def test_the_lock_of_a_folder_that_is_deleted_meanwhile_is_that_of_the_next_one(tmp_path, monkeypatch, lock_it):
    """Between opening and locking, the process that held it may have deleted it."""
    run, flock, times = tmp_path / "run", lock.fcntl.flock, []

    def delete_first(handle, kind):
        times.append(handle)
        if len(times) == 1:
            run.rmdir()
        flock(handle, kind)

    monkeypatch.setattr(lock.fcntl, "flock", delete_first)
    with lock_it(run):
        assert run.is_dir() and len(times) == 2
        (run / "file").touch()
        monkeypatch.undo()
        assert lock.is_held(run)


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
