"""`OUT.part`: the rows of `alexnet features` so far, from which the same command resumes after an interruption.

A folder with one array for each layer, `about.json`, what they are of, and for each rank `rows-FIRST-END.jsonl`, a line
of names for some of its rows each time these rows are on the disk.
"""

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alexnet.files import durable, lock
from alexnet.files.json_file import mismatch, parse_json, read_json
from alexnet.files.regular import read_regular
from alexnet.files.rows import RowFile, make_rows
from alexnet.study import feature_files
from alexnet.training.ranks import Ranks

SECONDS_BETWEEN_NOTES = 20.0
"""What an interruption costs at most, but for the start."""
LARGEST = 1 << 30
"""Bytes of the names of a rank's rows."""


class Read(NamedTuple):
    """What was read of the images, and what was seen in their activations."""

    keys: list[str]
    wnids: list[str]
    skipped: list[dict[str, str]]
    """`key` and `error` of each image that cannot be read."""
    unread: list[int]
    """Their rows."""
    varied: list[str]
    """The layers in which two images differ."""


FORMS = (list[str], list[str], list[dict[str, str]], list[int], list[str])


class PartialRows:
    """The rows of one rank, `rows`, in arrays that all share."""

    def __init__(self, folder: Path, shapes: Mapping[str, tuple[int, ...]], rows: slice) -> None:
        self.folder = folder
        self.arrays = {name: RowFile(folder / f"{name}.npy") for name in shapes}
        self.first, self.end = rows.start, rows.stop
        self._notes = folder / f"rows-{self.first}-{self.end}.jsonl"
        self.read = self._noted()
        """What was read so far: the rows from the first on."""
        self._lengths = [len(each) for each in self.read]
        self._last = time.monotonic()

    def _noted(self) -> Read:
        read, whole = Read([], [], [], [], []), list[bytes]()
        try:
            content = read_regular(self._notes, LARGEST)
        except OSError:
            return read
        for text in content.split(b"\n")[:-1]:  # the last is empty, or half a line
            try:
                line = parse_json(text)
            except ValueError:
                break
            if not isinstance(line, list) or len(line) != len(FORMS) or any(map(mismatch, line, FORMS)):
                break
            whole.append(text + b"\n")
            for all_, new in zip(read, line, strict=True):
                all_.extend(new)
        if len(read.keys) > self.end - self.first:
            return Read([], [], [], [], [])
        if (kept := b"".join(whole)) != content:
            with durable.whole(self._notes) as temporary:
                temporary.write_bytes(kept)
        return read

    def first_good(self) -> dict[str, np.ndarray]:
        """The first row of each layer, where there is one and it is no NaN."""
        if not self.read.keys or self.first in self.read.unread:
            return {}
        return {name: array.read(self.first, self.first + 1)[0] for name, array in self.arrays.items()}

    def note(self, now: bool = False) -> None:
        """Put on the disk what there is, if the last time was long ago, or `now`."""
        if not now and time.monotonic() - self._last < SECONDS_BETWEEN_NOTES:
            return
        new = [each[length:] for each, length in zip(self.read, self._lengths, strict=True)]
        if new[0]:
            for array in self.arrays.values():
                durable.sync(array.path)
            with open(self._notes, "a" if self._lengths[0] else "w", encoding="utf-8") as file:
                file.write(json.dumps(new) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self._lengths, self._last = [len(each) for each in self.read], time.monotonic()


def folder_of(out: Path) -> Path:
    """`OUT.part`."""
    return out.with_name(f"{out.name}.part")


@contextmanager
def partial_rows(
    here: Ranks, out: Path, shapes: Mapping[str, tuple[int, ...]], count: int, about: dict[str, Any]
) -> Iterator[PartialRows]:
    """This rank's part of `count` rows: those of an earlier call that was interrupted, if it was `about` the same, or
    none yet. At the end the folder is deleted; after an error it stays, if rows are in it.

    ValueError where the disk has no room, and where another process writes the same.
    """
    folder = folder_of(out)
    with lock.hold(folder, "alexnet features") if here.is_first else nullcontext():
        try:
            here.once(lambda: _begin(folder, out, shapes, about))
            mine = PartialRows(folder, shapes, here.part(count))
            try:
                yield mine
            except ValueError:
                raise
            except BaseException as error:
                with suppress(OSError):
                    mine.note(now=True)
                if isinstance(error, KeyboardInterrupt) and mine.read.keys:
                    error.args = (f"Interrupted; {folder} has the rows so far, and the same command resumes.",)
                raise
            here.once(lambda: _empty(folder))
        finally:
            if here.is_first and not any(folder.glob("rows-*.jsonl")):
                _empty(folder)


def _begin(folder: Path, out: Path, shapes: Mapping[str, tuple[int, ...]], about: dict[str, Any]) -> None:
    with suppress(OSError, ValueError):
        is_same = read_json(folder / "about.json", dict[str, Any]) == json.loads(json.dumps(about))
        if is_same and all((folder / f"{name}.npy").exists() for name in shapes):
            return
    _empty(folder)
    feature_files.check_room(out, shapes)
    for name, shape in shapes.items():
        make_rows(folder / f"{name}.npy", shape)
    durable.write_json(folder / "about.json", about)


def _empty(folder: Path) -> None:
    """Delete what is in the folder; with its lock, an empty folder goes too."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def all_of(here: Ranks, mine: Read) -> Read:
    """What all ranks have read, in the order of the images."""
    return Read(*(list(itertools.chain(*each)) for each in zip(*here.gather(mine), strict=True)))


def watch(varied: list[str], name: str, first: dict[str, np.ndarray], good: np.ndarray) -> None:
    """Note in `varied` that a layer's activations differ between images; `good` is [n, ...]."""
    if name not in varied and len(good) and (good != first.setdefault(name, good[0].copy())).any():
        varied.append(name)
