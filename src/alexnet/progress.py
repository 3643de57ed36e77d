"""Progress for long work: a bar on a terminal, plain lines elsewhere, always on stderr."""

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.status import Status
from rich.table import Column
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0
SECONDS_OF_SILENCE = 2.0
"""After so many seconds without a bar, `Life` shows that the command is working."""


class Progress:
    """Counts work done. A context manager.

    On a terminal it draws a bar; elsewhere it prints a line every ten seconds and one at the end. The bar, the count
    and the time left come first and are never cut; the rest is cut where the terminal is too narrow. `total` is None
    where it is unknown. `silent` prints nothing, for all but one of several processes.
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        unit: str = "images",
        start: int = 0,
        silent: bool = False,
        console: Console | None = None,
    ) -> None:
        self.silent = silent
        self.description, self.total, self.unit = description, total, unit
        self.done, self.start, self.fields = start, start, {}
        self.start_time = self.last_line = time.monotonic()
        self.last_said: tuple[int, dict[str, object]] | None = None
        self.console = console
        self.bar: RichProgress | None = None

    def __enter__(self) -> Self:
        console = self.console or Console(stderr=True)
        if console.is_terminal and not self.silent:
            Life.pause()
            rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
            self.bar = RichProgress(
                BarColumn(bar_width=max(10, min(30, console.width // 5))),
                _Uncut(lambda task: f"{task.completed:,.0f}" + ("" if task.total is None else f"/{task.total:,.0f}")),
                _Uncut(lambda task: self._left()),
                TextColumn("{task.description}", table_column=rest),
                console=console,
                expand=True,
            )
            self.bar.start()
            self.task = self.bar.add_task(self._rest(), total=self.total, completed=self.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
            Life.resume()
        elif kind is None and self.last_said != (self.done, self.fields):
            self._line()

    @property
    def rate(self) -> float:
        """Units per second since the start."""
        return (self.done - self.start) / max(time.monotonic() - self.start_time, 1e-9)

    def advance(self, count: int = 1, **fields: object) -> None:
        """Count `count` more units as done and show `fields` beside them."""
        self.done += count
        self.fields.update(fields)
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, description=self._rest())
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self._line()

    def line(self, text: str) -> None:
        """Print a line that stays, above the bar if there is one."""
        if self.silent:
            return
        if self.bar is not None:
            self.bar.console.print(Text(text), soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _left(self) -> str:
        """The time left in words; empty where it is unknown."""
        if self.total is None or self.done >= self.total or self.done == self.start:
            return ""
        return f"{duration((self.total - self.done) / self.rate)} left"

    def _rest(self) -> str:
        fields = "".join(f", {key} {value}" for key, value in self.fields.items())
        speed = f"{self.rate:.0f} {self.unit}/s, " if self.done > self.start else ""
        return f"{speed}{self.description}{fields}"

    def _line(self) -> None:
        self.last_line, self.last_said = time.monotonic(), (self.done, dict(self.fields))
        if self.silent:
            return
        of = f" of {self.total}" if self.total is not None else ""
        left = f", {self._left()}" if self._left() else ""
        extra = "".join(f", {key} {value}" for key, value in self.fields.items())
        rate = f", {self.rate:.0f} {self.unit}/s" if self.done > self.start else ""
        print(f"{self.description}: {self.done}{of} {self.unit}{left}{rate}{extra}", file=sys.stderr, flush=True)


class _Uncut(ProgressColumn):
    """Text that keeps its width on a narrow terminal."""

    def __init__(self, words: Callable[[Task], str]) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.words = words

    def render(self, task: Task) -> Text:
        return Text(self.words(task))


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "12 min", "3 h 05 min", "2 days 4 h"."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


class Life:
    """Shows on a terminal that a command is working, whenever no bar has done so for `SECONDS_OF_SILENCE`.

    A context manager. Of several ranks on a machine, the first one shows it.
    """

    current: "Life | None" = None

    def __init__(self, who: str, console: Console | None = None) -> None:
        self.who, self.console = who, console or Console(stderr=True)
        self.timer: threading.Timer | None = None
        self.status: Status | None = None
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        if self.console.is_terminal and os.environ.get("LOCAL_RANK", "0") == "0":
            Life.current = self
            self._wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if Life.current is self:
            self._end()
            Life.current = None

    @classmethod
    def pause(cls) -> None:
        """A bar begins."""
        if cls.current is not None:
            cls.current._end()

    @classmethod
    def resume(cls) -> None:
        """A bar has ended."""
        if cls.current is not None:
            cls.current._wait()

    def _wait(self) -> None:
        self.timer = threading.Timer(SECONDS_OF_SILENCE, self._show)
        self.timer.daemon = True
        self.timer.start()

    def _show(self) -> None:
        with self.lock:
            if self.timer is not None:
                self.status = self.console.status(f"{self.who} is working")
                self.status.start()

    def _end(self) -> None:
        with self.lock:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
            if self.status is not None:
                self.status.stop()
                self.status = None
