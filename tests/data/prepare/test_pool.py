"""Results come in the order of the tasks, and only a few tasks wait."""

import operator
import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from alexnet.data.prepare.pool import Pool
from alexnet.native.processor import cores


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_tasks_are_taken_as_needed(workers: int) -> None:
    taken = []

    def tasks():
        for number in range(40):
            taken.append(number)
            yield -number

    with Pool(workers) as pool:
        for number, (task, result) in enumerate(pool.map(operator.neg, tasks())):
            assert (task, result) == (-number, number)
            assert len(taken) <= number + 2 * workers + 1
    assert len(taken) == 40


def test_an_error_in_a_worker_is_raised_here_and_a_killed_worker_is_noticed() -> None:
    with Pool(2) as pool, pytest.raises(TypeError):
        list(pool.map(int, [None]))  # pyright: ignore[reportArgumentType]
    with Pool(2) as pool, pytest.raises(BrokenProcessPool):
        list(pool.map(os._exit, [3]))


def test_there_is_at_least_one_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
