"""Ctrl-C and SIGTERM during a training: the first finishes the step and saves it, the second ends the process."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """A training that stopped on request. The program's exit code follows from `signal`, which requested it."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class StopRequest(threading.Event):
    """Set when a stop is requested."""

    signal: int = signal.SIGINT
    """The signal that requested it."""

    def stopped(self, message: str) -> Stopped:
        """The exception to raise once everything is saved."""
        return Stopped(message, self.signal)


@contextmanager
def requests() -> Iterator[StopRequest]:
    """In this context Ctrl-C and SIGTERM set the event instead of interrupting, so that a step can finish.

    A second signal ends the process at once, even in the middle of a long computation; checkpoints survive that. In an
    interactive Python it raises KeyboardInterrupt instead. Outside the main thread signals are left alone.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: object) -> None:
        request.signal = number
        request.set()
        interactive = hasattr(sys, "ps1")
        signal.signal(signal.SIGINT, signal.default_int_handler if interactive else signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        print("Stopping after this step; once more to stop at once.", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
