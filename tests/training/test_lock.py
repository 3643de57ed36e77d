"""One training for one run folder."""

import multiprocessing
import time

import pytest

from alexnet.training import lock


def keep(run) -> None:
    with lock.hold(run):
        (run / "held").write_text("")
        time.sleep(60)


def test_held_by_another_process_it_is_refused_until_that_is_dead(tmp_path):
    run = tmp_path / "deep" / "run"
    other = multiprocessing.get_context("spawn").Process(target=keep, args=(run,))
    other.start()
    try:
        while not (run / "held").exists():
            time.sleep(0.01)
        for _ in range(2):
            with pytest.raises(ValueError, match=f"Another alexnet train is writing {run}: wait"), lock.hold(run):
                raise AssertionError
        assert (run / "held").exists()
    finally:
        other.kill()
        other.join()
    with lock.hold(run):
        assert (run / "held").exists()


def test_a_folder_in_which_nothing_was_written_is_taken_away_again(tmp_path):
    with lock.hold(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()


def test_on_a_file_system_without_locks_nobody_is_refused(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    with lock.hold(tmp_path / "run"), lock.hold(tmp_path / "run"):
        pass
