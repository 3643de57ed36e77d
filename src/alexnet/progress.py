"""Progress for long work: a bar on a terminal, plain lines elsewhere, always on stderr."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts work done. A context manager.

    On a terminal it draws a bar with rate and time left; elsewhere it prints a line every ten seconds and one at the
    end. `total` is None where it is unknown. `silent` prints nothing, for all but one of several processes.
    """

    def __init__(
        self, description: str, total: int | None, unit: str = "images", start: int = 0, silent: bool = False
    ) -> None:
        self.silent = silent
        self.description, self.total, self.unit = description, total, unit
        self.done, self.start, self.fields = start, start, {}
        self.start_time = self.last_line = time.monotonic()
        self.bar: RichProgress | None = None

    def __enter__(self) -> Self:
        console = Console(stderr=True)
        if console.is_terminal and not self.silent:
            self.bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[extra]}"),
                console=console,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.description, total=self.total, completed=self.start, rate="", extra="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        elif kind is None:
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
            extra = " ".join(f"{key} {value}" for key, value in self.fields.items())
            self.bar.update(self.task, completed=self.done, rate=f"{self.rate:.0f} {self.unit}/s", extra=extra)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self._line()

    def _line(self) -> None:
        self.last_line = time.monotonic()
        if self.silent:
            return
        of = f" of {self.total}" if self.total is not None else ""
        left = ""
        if self.total is not None and self.done < self.total and self.rate > 0:
            left = f", {(self.total - self.done) / self.rate:.0f} s left"
        extra = "".join(f", {key} {value}" for key, value in self.fields.items())
        rate = f"{self.rate:.0f} {self.unit}/s"
        print(f"{self.description}: {self.done}{of} {self.unit}, {rate}{left}{extra}", file=sys.stderr, flush=True)
