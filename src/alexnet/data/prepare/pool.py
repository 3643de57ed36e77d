"""Threads or worker processes that do many tasks, with results in the order of the tasks.

Threads start at once, but take turns wherever the work is done by Python itself. Processes do not take turns, but each
must first import what it needs, and the calling script. They are spawned and not forked, on Linux as on macOS: forking
a process that has threads may hang.
"""

import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Pool:
    """`workers` processes, or threads; a single worker is the calling thread. A context manager."""

    def __init__(self, workers: int, threads: bool = False) -> None:
        self.workers = workers
        self._pool: Executor | None = None
        if workers > 1 and threads:
            self._pool = ThreadPoolExecutor(workers, "pool")
        elif workers > 1:
            self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[Task, Result]]:
        """Each task with `work` of it, in order. At most two tasks per worker wait, so that memory is bounded.

        Raises BrokenProcessPool where a process was killed.
        """
        if self._pool is None:
            yield from ((task, work(task)) for task in tasks)
            return
        waiting: deque[tuple[Task, Future[Result]]] = deque()
        for task in tasks:
            waiting.append((task, self._pool.submit(work, task)))
            if len(waiting) > 2 * self.workers:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        for oldest, future in waiting:
            yield oldest, future.result()


def _start_worker() -> None:
    """Leave Ctrl-C and the package's warnings to the first process, and end with it if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="alexnet")
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
