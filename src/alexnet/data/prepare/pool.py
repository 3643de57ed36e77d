"""Work on many parts by threads or worker processes, the results in the order of the parts.

Threads start at once, and take turns where the work is Python's own. Processes do not, but each first imports what it
needs, the calling script too. They are spawned and not forked, on Linux as on macOS: a fork of a process that has
threads may hang.
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

Part = TypeVar("Part")
Result = TypeVar("Result")


class Pool:
    """`workers` processes, or threads; one is this thread itself. A context manager."""

    def __init__(self, workers: int, threads: bool = False) -> None:
        self.workers = workers
        self._pool: Executor | None = None
        if workers > 1 and threads:
            self._pool = ThreadPoolExecutor(workers, "pool")
        elif workers > 1:
            self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[tuple[Part, Result]]:
        """Each part and `work` of it, in order. At most two parts per worker wait, so memory is bounded.

        Raises BrokenProcessPool where a process was killed.
        """
        if self._pool is None:
            yield from ((part, work(part)) for part in parts)
            return
        waiting: deque[tuple[Part, Future[Result]]] = deque()
        for part in parts:
            waiting.append((part, self._pool.submit(work, part)))
            if len(waiting) > 2 * self.workers:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        for oldest, future in waiting:
            yield oldest, future.result()


def _begin() -> None:
    """Ctrl-C is for the first process to handle; and when that one is killed, its workers end too. What this package
    warns of, that one has said."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="alexnet")
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
