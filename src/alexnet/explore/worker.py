"""Lanes of work: so many at a time, so many waiting, and no more; and work that is done for several at once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread

from alexnet.explore import bounds

Item = TypeVar("Item")
Result = TypeVar("Result")


class BusyError(Exception):
    """Too many requests wait already."""


class Lane:
    """Runs functions in threads, `at_once` at a time; of all others, `waiting` may wait."""

    def __init__(self, at_once: int, waiting: int = bounds.WAITING) -> None:
        self.limiter, self.most, self.now = anyio.CapacityLimiter(at_once), at_once + waiting, 0

    async def run(self, work: Callable[..., Result], *args: Any, **options: Any) -> Result:
        """What `work` returns. Raises what it raises, and BusyError where too many wait."""
        if self.now >= self.most:
            raise BusyError
        self.now += 1
        try:
            return await anyio.to_thread.run_sync(partial(work, *args, **options), limiter=self.limiter)
        finally:
            self.now -= 1


class Lanes:
    """Those of the application, by what is done in them."""

    def __init__(self) -> None:
        self.network = Lane(1)
        """Forward passes of one image."""
        self.labels = Lane(bounds.TOGETHER)
        """Forward passes that several images share (`Together`)."""
        self.search = Lane(1)
        """Reading the index, which may take seconds for a large store."""
        self.decode, self.decode_large = Lane(1), Lane(1, 4)
        self.other = Lane(4)

    def want_network(self) -> bool:
        """Whether requests wait for a network."""
        return self.network.now + self.labels.now > 0


class Together(Generic[Item, Result]):
    """Does work that several threads wait for in one go: whatever has come while the last was done, up to `most`."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result]], most: int) -> None:
        self.work, self.most = work, most
        self._waiting: list[tuple[Item, Future[Result]]] = []
        self._list, self._turn = threading.Lock(), threading.Lock()

    def __call__(self, item: Item) -> Result:
        """What `work` makes of the item. Raises what it raises."""
        mine: Future[Result] = Future()
        with self._list:
            self._waiting.append((item, mine))
        with self._turn:
            while not mine.done():  # another thread may have done it meanwhile
                self._next()
        return mine.result()

    def _next(self) -> None:
        with self._list:
            now, self._waiting = self._waiting[: self.most], self._waiting[self.most :]
        try:
            results = self.work([item for item, _ in now])
        except BaseException as error:
            for _, future in now:
                future.set_exception(error)
        else:
            for (_, future), result in zip(now, results, strict=True):
                future.set_result(result)
