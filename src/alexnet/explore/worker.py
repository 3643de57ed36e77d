"""Lanes of work: so many at a time, so many waiting, and no more."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

Result = TypeVar("Result")


class BusyError(Exception):
    """Too many requests wait already."""


class Lane:
    """Runs functions in threads, `at_once` at a time; of all others, `waiting` may wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
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
