"""A folder that appears with all its files, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alexnet.files import durable, lock


@contextmanager
def whole_folder(out: Path, command: str, new: bool = False) -> Iterator[Path]:
    """A temporary folder to write to. At the end its files are in `out`; after an error nothing has changed.

    Where `out` is there already, files of the same names are replaced and the others stay; with `new`, it must be
    empty. Raises ValueError where another process, named `command` in the message, writes it.
    """
    with lock.hold(out.absolute().with_name(f"{durable.NEW}{out.absolute().name}"), command):
        if new and out.exists() and any(out.iterdir()):
            raise ValueError(f"{out} is not empty; choose another folder.")
        with _whole(out) as temporary:
            yield temporary


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    temporary = durable.new_name(out.absolute(), durable.mark())
    temporary.mkdir()
    try:
        yield temporary
        for path in (*temporary.rglob("*"), temporary):
            durable.sync(path)
        if not out.exists():
            temporary.rename(out)
            durable.sync(out.absolute().parent)
            return
        for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
            target = out / path.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            durable.put(path, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
