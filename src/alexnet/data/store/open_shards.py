"""The shards of a split, opened when they are first needed."""

import contextlib
import math
import os
from collections import deque
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import NamedTuple

from alexnet.data.image.rows import Shards, open_shards
from alexnet.data.store.info import CHECK_DISK, COPY_AGAIN, check_shards
from alexnet.data.store.shard import Columns, ShardInfo, read_columns
from alexnet.files.read_at import ReadAt

PREPARE_AGAIN = "the store is damaged; delete it and prepare it again."

MAX_OPEN = max(8, os.sysconf("SC_OPEN_MAX") // 4)
"""Files that a split keeps open: a quarter of those that the process may open."""


class _Read(NamedTuple):
    """What is kept of a shard that was read."""

    identity: tuple[int, ...]
    """Of the file when it was first opened. When it is opened again, it must be the same."""
    columns: Columns


class OpenShards:
    """The shards in `folder`. Many threads may use them at once, also after a fork."""

    def __init__(self, folder: Path, shards: list[ShardInfo], batch_rows: int) -> None:
        self.folder, self.shards, self.batch_rows = folder, shards, batch_rows
        self._read: list[_Read | None] = [None] * len(shards)
        # No lock, since a fork could leave it locked for ever: two threads may open the same shard at once.
        self._files: list[ReadAt | None] = [None] * len(shards)
        self._open: deque[int] = deque()
        self._all: Shards | None = None

    def path(self, number: int) -> Path:
        """The file of a shard."""
        return self.folder / self.shards[number]["file"]

    def columns(self, number: int) -> Columns:
        """The columns of a shard, read at the first call. Raises ValueError, naming the shard."""
        read = self._read[number]
        if read is None:
            file = self.file(number)
            try:
                columns = read_columns(file, self.shards[number]["rows"], self.batch_rows)
            except (OSError, EOFError) as error:
                raise ValueError(why_unreadable(self.path(number), error)) from None
            except ValueError as error:
                raise ValueError(f"{self.path(number)} {error}: {PREPARE_AGAIN}") from None
            read = self._read[number] = _Read(file.identity, columns)
        return read.columns

    def file(self, number: int) -> ReadAt:
        """The file of a shard. Raises ValueError, naming the shard.

        Of more than `MAX_OPEN`, the file that was opened first is closed, once no other thread reads from it.
        """
        file = self._files[number]
        if file is None:
            path, read = self.path(number), self._read[number]
            check_shards(self.folder, [self.shards[number]])
            try:
                file = ReadAt(path)
            except OSError as error:
                raise ValueError(why_unreadable(path, error)) from None
            if read is not None and file.identity != read.identity:
                raise ValueError(f"{path} was replaced while it was being read: run the same command again.")
            self._files[number] = file
            self._open.append(number)
            if len(self._open) > MAX_OPEN:
                self._files[self._open.popleft()] = None
        return file

    def all_open(self) -> Shards | None:
        """All shards, opened at the first call; None if the process may not open so many files. Raises ValueError as
        `columns` and `file`."""
        if self._all is None and _may_open(len(self.shards) + 2 * MAX_OPEN):
            columns = [self.columns(number) for number in range(len(self.shards))]
            files = [self.file(number) for number in range(len(self.shards))]
            addresses = [each.addresses for each in columns]
            rows = [shard["rows"] for shard in self.shards]
            self._all = open_shards([file.descriptor for file in files], addresses, rows, (files, columns))
        return self._all


def _may_open(files: int) -> bool:
    """Whether the process may have so many files open, once its soft limit is raised where that is needed."""
    soft, hard = (math.inf if limit == RLIM_INFINITY else limit for limit in getrlimit(RLIMIT_NOFILE))
    if soft < files <= hard:
        with contextlib.suppress(OSError, ValueError):  # macOS may have a lower limit yet
            setrlimit(RLIMIT_NOFILE, (files, getrlimit(RLIMIT_NOFILE)[1]))
            return True
    return files <= soft


def why_unreadable(what: Path | str, error: OSError | EOFError) -> str:
    """The message for a file that cannot be read, or not to its end."""
    if isinstance(error, OSError):
        return f"{what} cannot be read ({error.strerror or error}): {CHECK_DISK}"
    return f"{what} cannot be read ({error}): {COPY_AGAIN}"
