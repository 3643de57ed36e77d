"""Ctrl-C and SIGTERM while a training runs: the step is finished and saved first; a second one does not wait."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(KeyboardInterrupt):
    """A training stopped as it was asked to; `signal` is what asked, and says how the program exits."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Requests(threading.Event):
    """Set when a stop is asked for."""

    signal: int = signal.SIGINT
    """What asked."""

    def stopped(self, message: str) -> Stopped:
        """What to raise when all is saved."""
        return Stopped(message, self.signal)


@contextmanager
def requests() -> Iterator[Requests]:
    """Ctrl-C and SIGTERM set the event, so that a step can be finished.

    The second one ends the process where it stands, even inside a long computation (nothing saved is lost by it); in
    an interactive Python it raises KeyboardInterrupt.
    """
    asked = Requests()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: object) -> None:
        asked.signal = number
        asked.set()
        interactive = hasattr(sys, "ps1")
        signal.signal(signal.SIGINT, signal.default_int_handler if interactive else signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        print("Stopping after this step; once more to stop at once.", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
